using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Cpu;
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

    [Fact]
    public void The_cpu_s_path_and_packed_weights_are_for_its_layers_and_refused_where_it_has_none()
    {
        using TempFolder folder = new();
        string path = Synthetic(folder, "q8.gguf", 3);
        CpuPath cpuPath = CpuPaths.All.Last(one => one.IsSupported);
        DeviceOptions options = new() { GpuLayers = 1, CpuPath = cpuPath.Name, CacheWeights = true };
        float[] first;
        long written;
        using (Model model = LoadWith(path, "opencl", options))
        {
            SplitBackend backend = Assert.IsType<SplitBackend>(model.Language.Backend);
            Assert.Same(cpuPath, Assert.IsType<CpuBackend>(backend.Host).Path);
            written = model.Language.WeightCache!.WrittenBytes;
            Assert.InRange(written, 1, new FileInfo(path).Length);
            first = Logits(model);
        }

        using (Model model = LoadWith(path, "opencl", options))
        {
            Assert.InRange(model.Language.WeightCache!.MappedBytes, 1, written);
            Assert.Equal((0L, (string?)null), (model.Language.WeightCache.WrittenBytes, model.Language.WeightCache.Problem));
            Assert.Equal(first, Logits(model));
        }

        // All layers on the CPU want more than the file has, which is then written with all of them.
        using (Model model = LoadWith(path, "cpu", new DeviceOptions { CacheWeights = true })) Assert.InRange(model.Language.WeightCache!.WrittenBytes, written + 1, long.MaxValue);
        using (Model model = LoadWith(path, "opencl", options)) Assert.Equal(0, model.Language.WeightCache!.WrittenBytes);
        Assert.Contains("takes the whole model and the CPU no layer, so that --cpu-path has no meaning", Refused(new DeviceOptions { CpuPath = cpuPath.Name }), StringComparison.Ordinal);
        Assert.Contains("so that --cache-weights has no meaning", Refused(new DeviceOptions { CacheWeights = true, GpuLayers = 9 }), StringComparison.Ordinal);
        Assert.Contains("no-such-path", Refused(new DeviceOptions { CpuPath = "no-such-path", GpuLayers = 1 }), StringComparison.Ordinal);

        string Refused(DeviceOptions other) => Assert.Throws<ArgumentException>(() => LoadWith(path, "opencl", other)).Message;
    }

    [Theory]
    [InlineData(1, "opencl+cpu", "opencl+cpu")]
    [InlineData(3, "opencl", "opencl+cpu")]
    [InlineData(0, "cpu", "cpu")]
    [InlineData(null, "opencl", "opencl")]
    public void A_second_model_is_placed_by_its_own_layers_and_leaves_the_first_as_it_is(int? layers, string name, string otherName)
    {
        using TempFolder folder = new();
        string path = Synthetic(folder, "two.gguf", 2), otherPath = Synthetic(folder, "three.gguf", 3);
        float[] expected;
        using (Model alone = LoadWith(otherPath, "cpu", new DeviceOptions { IsExact = true })) expected = Logits(alone);
        using Model model = LoadWith(path, "opencl", new DeviceOptions { IsExact = true, GpuLayers = layers });
        Assert.Equal(name, model.Language.Backend.Name);
        float[] before = Logits(model);
        for (int round = 0; round < 2; round++)
        {
            using Model other = model.LoadBeside(otherPath);
            Assert.Equal(otherName, other.Language.Backend.Name);
            Assert.Equal(layers is 0 ? null : Math.Min(layers ?? 3, 3), other.Placement?.DeviceLayers);
            Assert.InRange(Nmse.Of(Logits(other), expected), 0, 1e-9);
            Assert.Equal(before, Logits(model));

            // What the first model took is not free for the second.
            if (other.Placement is { } placement) Assert.InRange(placement.AvailableBytes, 1, model.Placement!.AvailableBytes - model.Placement.WeightBytes);
        }

        Assert.Equal(before, Logits(model));
    }

    private static string Synthetic(TempFolder folder, string name, int layers)
    {
        SyntheticShape shape = new() { Width = 128, Layers = layers, Heads = 4, KvHeads = 2, FeedForward = 192, Vocabulary = 1024, Context = 256 };
        shape.Describe(BlockFormats.Q8_0).Write(folder.File(name), 7, new SyntheticFormats(BlockFormats.Q8_0, BlockFormats.F32, BlockFormats.F32), 1);
        return folder.File(name);
    }

    private static Model Load(string path, string device, int? layers, int context = 128, int threads = 0) =>
        LoadWith(path, device, new DeviceOptions { IsExact = true, GpuLayers = layers, Threads = threads }, context);

    private static Model LoadWith(string path, string device, DeviceOptions options, int context = 128)
    {
        if (device == "opencl") Installed.OpenCl(GpuDevices.OpenCl(out string? problem).Count > 0, $"there is no OpenCL device: {problem}");
        return Model.Load(path, new LoadOptions { Device = device, DeviceOptions = options, Context = context, KvFormat = BlockFormats.F32, BatchTokens = 64 });
    }

    private static float[] Logits(Model model)
    {
        using Session session = model.Language.NewSession(new SessionOptions { Context = 128, KvFormat = BlockFormats.F32 });
        int vocabulary = model.Language.VocabularySize;
        float[] all = new float[s_ids.Length * vocabulary];
        session.Evaluate([.. s_ids.Select(id => id % vocabulary)], 0, (position, logits) => logits.CopyTo(all.AsSpan(position * vocabulary)), TestContext.Current.CancellationToken);
        return all;
    }
}
