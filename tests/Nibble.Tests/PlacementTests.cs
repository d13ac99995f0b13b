using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Gpu;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;

namespace Nibble.Tests;

/// <summary>A GPU and the CPU run a model together. Where there is no device of OpenCL these tests are skipped.</summary>
public class PlacementTests
{
    private static readonly int[] s_ids = [.. File.ReadAllText(Fixtures.Golden("architectures", "tokens.txt")).Split([',', ' ', '\n', '\r'], StringSplitOptions.RemoveEmptyEntries).Select(part => int.Parse(part, System.Globalization.CultureInfo.InvariantCulture))];

    [Theory]
    [InlineData("llama-dense")]
    [InlineData("llama-moe")]
    public void Any_number_of_layers_gives_the_logits_of_the_cpu(string name)
    {
        string path = Fixtures.Golden("architectures", name + ".gguf");
        float[] whole;
        int layers;
        using (Model model = Load(path, "cpu", null))
        {
            whole = Logits(model);
            layers = model.Language.LayerCount;
        }

        for (int count = 0; count <= layers + 2; count++)
        {
            using Model model = Load(path, "opencl", count);
            ModelPlacement placement = model.Placement!;
            Assert.Equal(Math.Min(count, layers), placement.DeviceLayers);
            Assert.Equal(count > layers, placement.Split.TakesOutput);
            Assert.Equal(count == 0 ? "cpu" : count > layers ? "opencl" : "opencl+cpu", model.Language.Backend.Name);
            Assert.InRange(Nmse.Of(Logits(model), whole), 0, 1e-9);
        }
    }

    [Fact]
    public void What_was_planned_is_what_is_taken()
    {
        string path = Path.Combine(Fixtures.Root, "models", "SmolLM2-135M-Instruct.Q4_1.gguf");
        using Model model = Load(path, "opencl", 12, context: 256);
        SplitBackend backend = Assert.IsType<SplitBackend>(model.Language.Backend);
        using Session session = model.Language.NewSession(new SessionOptions { Context = 256, KvFormat = BlockFormats.F32 });
        session.Evaluate(s_ids.AsSpan(0, 20).ToArray().Select(id => id % model.Language.VocabularySize).ToArray(), TestContext.Current.CancellationToken);
        ModelPlacement placement = model.Placement!;
        GpuBackend device = Assert.IsType<GpuBackend>(backend.Device);
        long planned = placement.WeightBytes + placement.KvBytes + placement.ScratchBytes, taken = device.Device.MemoryBytes - device.AvailableBytes;
        Assert.InRange(taken, placement.WeightBytes + placement.KvBytes, planned + (8 << 20));
        string[] lines = [.. placement.Describe("cpu")];
        Assert.Contains("layers 18 to 29 of 30; ", lines[0], StringComparison.Ordinal);
        Assert.Contains("cpu: layers 0 to 17 and the output, and rows of embeddings; ", lines[1], StringComparison.Ordinal);
        Assert.Contains(lines, line => line.StartsWith("opencl: Q4_1 as planes", StringComparison.Ordinal));
    }

    [Fact]
    public void A_format_that_takes_more_memory_than_in_the_file_says_so()
    {
        using TempFolder folder = new();
        string path = folder.File("q2.gguf");
        SyntheticShape shape = new() { Width = 256, Layers = 2, Heads = 4, KvHeads = 2, FeedForward = 256, Vocabulary = 320, Context = 256 };
        shape.Describe(BlockFormats.Q2_K).Write(path, 7, new SyntheticFormats(BlockFormats.Q2_K, BlockFormats.F32, BlockFormats.F32), 1);
        using Model model = Load(path, "opencl", null);
        PlacedFormat format = Assert.Single(model.Placement!.Formats, format => format.Format == BlockFormats.Q2_K);
        Assert.InRange(format.DeviceBytes, format.FileBytes + 1, long.MaxValue);
        Assert.Contains(model.Placement.Describe("cpu"), line => line.StartsWith("opencl: Q2_K as planes of 4 bits", StringComparison.Ordinal));
    }

    [Fact]
    public void Threads_are_the_cpu_s_and_refused_where_it_has_no_layer()
    {
        string path = Fixtures.Golden("architectures", "llama-dense.gguf");
        using (Model model = Load(path, "opencl", 1, threads: 1)) Assert.Equal("opencl+cpu", model.Language.Backend.Name);
        Assert.Contains("--threads", Assert.Throws<ArgumentException>(() => Load(path, "opencl", null, threads: 1)).Message, StringComparison.Ordinal);
    }

    private static Model Load(string path, string device, int? layers, int context = 128, int threads = 0)
    {
        if (device == "opencl") Assert.SkipWhen(GpuDevices.OpenCl(out string? problem).Count == 0, $"there is no OpenCL device: {problem}");
        return Model.Load(path, new LoadOptions { Device = device, DeviceOptions = new DeviceOptions { IsExact = true, GpuLayers = layers, Threads = threads }, Context = context, KvFormat = BlockFormats.F32, BatchTokens = 64 });
    }

    private static float[] Logits(Model model)
    {
        using Session session = model.Language.NewSession(new SessionOptions { Context = 128, KvFormat = BlockFormats.F32 });
        int vocabulary = model.Language.VocabularySize;
        float[] all = new float[s_ids.Length * vocabulary];
        session.Evaluate(s_ids, 0, (position, logits) => logits.CopyTo(all.AsSpan(position * vocabulary)), TestContext.Current.CancellationToken);
        return all;
    }
}
