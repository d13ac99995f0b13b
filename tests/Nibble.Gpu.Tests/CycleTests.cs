using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Gpu.Drivers;
using Nibble.Gpu.Drivers.OpenCL;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;

namespace Nibble.Gpu.Tests;

/// <summary>Loading, generating and disposing again and again leaves nothing behind.</summary>
public class CycleTests
{
    [Fact]
    public void Cycles_leave_no_device_buffer()
    {
        for (int i = 0; i < 6; i++) Cycle(i);
    }

    // Resident memory is the process's, so that this runs alone: -explicit only -class Nibble.Gpu.Tests.CycleTests.
    [Fact(Explicit = true)]
    public void Two_hundred_cycles_leave_no_device_buffer_and_less_than_2_percent_more_resident_memory()
    {
        // As many before, until the runtime has compiled all that it compiles again and the driver has the programs that it keeps.
        for (int i = 0; i < 200; i++) Cycle(i);
        long before = ResidentBytes();
        for (int i = 0; i < 200; i++) Cycle(i);
        long after = ResidentBytes();
        TestContext.Current.TestOutputHelper?.WriteLine($"resident: {before / 1e6:F1} MB after 200 cycles, {after / 1e6:F1} MB after 200 more ({100.0 * (after - before) / before:F2} %)");
        Assert.InRange(after, 0, before + (before / 50));
    }

    // Every other time the device has a part of the model only.
    private static void Cycle(int number)
    {
        GpuDevice device = TestDevice.Open(ProgramCache.Default());
        string path = Fixtures.Golden("architectures", number % 4 < 2 ? "llama-dense.gguf" : "llama-moe.gguf");
        using (Backend backend = number % 2 == 0 ? new GpuBackend(device, new GpuOptions()) : Split(device, path))
        {
            using LanguageModel model = LanguageModel.Load(GgufFile.Open(path), backend, new ModelOptions { BatchTokens = 32 });
            using Session session = model.NewSession(new SessionOptions { Context = 64, KvFormat = BlockFormats.F16 });
            session.Prefill([1, 2, 3, 4, 5], TestContext.Current.CancellationToken);
            for (int i = 0; i < 4; i++) session.Evaluate([i + 6], TestContext.Current.CancellationToken);
            Assert.InRange(device.LiveBuffers, 10, 1000);
        }

        Assert.Equal((0, 0L), (device.LiveBuffers, device.LiveBytes));
    }

    private static SplitBackend Split(GpuDevice device, string path)
    {
        GpuBackend backend = new(device, new GpuOptions());
        using GgufFile file = GgufFile.Open(path);
        return new SplitBackend(backend, new ReferenceBackend(), ModelPlacement.Plan(file, backend, new PlacementOptions { DeviceLayers = 1, Context = 64, BatchTokens = 32 }).Split);
    }

    private static long ResidentBytes()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();
        return Environment.WorkingSet;
    }
}
