using Nibble.Core.Formats;
using Nibble.Cpu.Jobs;
using Nibble.Cpu.Packed;

namespace Nibble.Cpu.Tests;

/// <summary>The measurement of how fast registers are multiplied.</summary>
public sealed class ComputePeakTests
{
    public static TheoryData<string> Paths() => [.. CpuPaths.All.Where(path => path.IsSupported).Select(path => path.Name)];

    [Theory]
    [MemberData(nameof(Paths))]
    public void Every_path_gives_a_number_that_a_processor_can_have_and_the_backend_is_free_afterwards(string path)
    {
        using CpuBackend backend = new(new CpuOptions { Threads = 2, Path = path });
        ComputePeak peak = new(backend);
        foreach (BlockFormat format in (BlockFormat[])[BlockFormats.Q4_0, BlockFormats.Q8_0, BlockFormats.Q6_K, BlockFormats.F16, BlockFormats.F32])
        {
            Assert.InRange(peak.Measure(format), 1e6, 1e15);
            Assert.InRange(peak.Measure(format), 1e6, 1e15);
        }
    }

    [Theory]
    [MemberData(nameof(Paths))]
    public void Products_are_really_computed(string path)
    {
        foreach (BlockKernel kernel in PackedKernels.Of(path))
        {
            foreach (int rounds in (int[])[0, 1, 2, 1000])
                Assert.Equal(Expected(kernel, rounds), kernel.MultiplyRegisters(rounds));
        }
    }

    [Theory]
    [MemberData(nameof(Paths))]
    public void A_job_does_every_part_and_counts_each(string path)
    {
        using CpuBackend backend = new(new CpuOptions { Threads = 2, Path = path });
        foreach (BlockKernel kernel in PackedKernels.Of(path))
        {
            ComputeJob job = new(kernel);
            int rounds = (int)(job.PartMacs / kernel.RoundMacs);
            Assert.True(rounds > 0);
            // A chain's vector holds a product of each byte, or of each float.
            int lanes = kernel.Kind == CodeKind.Floats ? 4 : 1, width = int.Parse(kernel.Instructions.Split('-')[0], System.Globalization.CultureInfo.InvariantCulture);
            Assert.Equal(12 * width / 8 / lanes, kernel.RoundMacs);
            backend.RunAlone(job, 5);
            Assert.Equal(5ul * kernel.MultiplyRegisters(rounds), job.Sink);
        }
    }

    [Fact]
    public void Formats_without_packed_kernels_are_multiplied_as_floats()
    {
        foreach (bool exact in (bool[])[false, true])
        {
            using CpuBackend backend = new(new CpuOptions { Threads = 1, Path = "vector128", Exact = exact });
            ComputePeak peak = new(backend);
            Assert.Equal("128-bit float32", peak.Instructions(BlockFormats.F32));
            Assert.Equal("128-bit float32", peak.Instructions(BlockFormats.NVFP4));
            Assert.Equal(exact ? "128-bit float32" : "128-bit pair products", peak.Instructions(BlockFormats.Q4_0));
        }
    }

    [Fact]
    public void It_stops_when_asked()
    {
        using CpuBackend backend = new(new CpuOptions { Threads = 1 });
        Assert.Throws<OperationCanceledException>(() => new ComputePeak(backend).Measure(BlockFormats.Q4_0, new CancellationToken(canceled: true)));
    }

    // What twelve sums add up to, in plain arithmetic.
    private static uint Expected(BlockKernel kernel, int rounds)
    {
        if (kernel.Kind == CodeKind.Floats) return BitConverter.SingleToUInt32Bits(12 * 0.5f * rounds);
        if (kernel.Instructions.Contains("dot", StringComparison.Ordinal)) return 12u * 4 * (uint)rounds;
        ushort sum = 0x0101;
        for (int round = 0; round < rounds; round++)
            sum += (ushort)((sum & 255) + (sum >> 8));
        // Pairs of 16 bits, of which the lower ones carry into the upper ones.
        return 12u * (sum | ((uint)sum << 16));
    }
}
