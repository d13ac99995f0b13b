using System.Text.Json;
using Nibble.Core.Compute;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Gpu.Drivers;
using Nibble.Gpu.Drivers.OpenCL;
using Nibble.Llm.Generation;
using Nibble.Llm.Models;
using Nibble.Llm.Sampling;
using Nibble.Llm.Sessions;

namespace Nibble.Gpu.Tests;

/// <summary>Whole models on an OpenCL device, against other programs' results.</summary>
public class GpuModelTests
{
    private const double Bound = 1e-7;

    private static readonly string s_smolLm2 = Path.Combine(Fixtures.Root, "models", "SmolLM2-135M-Instruct.Q4_1.gguf");

    private static readonly JsonElement s_golden = JsonDocument.Parse(File.ReadAllText(Fixtures.Golden("smollm2", "golden.json"))).RootElement;

    [Fact]
    public void The_default_model_gives_the_answers_of_transformers()
    {
        using GpuBackend backend = TestDevice.Backend();
        using LanguageModel model = Load(s_smolLm2, backend);
        using Session session = model.NewSession(new SessionOptions { Context = 512, KvFormat = BlockFormats.F32 });
        foreach (JsonElement answer in s_golden.GetProperty("greedy").EnumerateArray())
            Assert.Equal(Ints(answer.GetProperty("ids")), Greedy(session, Ints(answer.GetProperty("prompt_ids")), 48, 2));
    }

    [Theory]
    [InlineData("F32", Bound)]
    [InlineData("F16", 1e-4)]
    [InlineData("Q8_0", 1e-2)]
    public void The_default_model_gives_the_logits_of_transformers(string kv, double bound)
    {
        using GpuBackend backend = TestDevice.Backend();
        using LanguageModel model = Load(s_smolLm2, backend);
        foreach (string prompt in new[] { "france", "code" })
            CompareLogits(model, prompt, kv, bound);
    }

    // Activations of 8 bits cost more than half arithmetic, and so are used only where they are asked for.
    [Theory]
    [InlineData(GpuFeatures.PackedDot, 0, 5e-3)]
    [InlineData(GpuFeatures.PackedDot, 8, 5e-3)]
    [InlineData(GpuFeatures.Half, 8, 1e-4)]
    public void The_default_model_gives_the_logits_of_transformers_with_features(GpuFeatures features, int tiledTokens, double bound)
    {
        using GpuBackend backend = TestDevice.Backend(new GpuOptions { Features = features, EmulatesFeatures = true, TiledTokens = tiledTokens });
        using LanguageModel model = Load(s_smolLm2, backend);
        CompareLogits(model, "france", "F32", bound);
    }

    [Theory]
    [InlineData("gemma2-dense")]
    [InlineData("gemma3-dense")]
    [InlineData("gpt-oss-moe")]
    [InlineData("granite-dense")]
    [InlineData("llama-dense")]
    [InlineData("llama-moe")]
    [InlineData("mistral3-dense")]
    [InlineData("phi3-dense")]
    [InlineData("qwen2-dense")]
    [InlineData("qwen3-dense")]
    [InlineData("qwen3moe-moe")]
    [InlineData("smollm3-dense")]
    public void An_architecture_gives_the_logits_of_llama_cpp(string name)
    {
        using GpuBackend backend = TestDevice.Backend();
        using LanguageModel model = Load(Fixtures.Shared("fixtures", "architectures", name + ".gguf"), backend);
        using Session session = model.NewSession(new SessionOptions { Context = 512, KvFormat = BlockFormats.F32 });
        int[] ids = Ids(File.ReadAllText(Fixtures.Golden("architectures", "tokens.txt")));
        float[] theirs = Nmse.ReadFloats(Fixtures.Shared("fixtures", "architectures", name + ".logits.f32")), ours = Logits(session, ids);
        Assert.InRange(Nmse.Of(ours, theirs), 0, Bound);
        string line = File.ReadLines(Fixtures.Shared("fixtures", "architectures", "greedy.txt")).Single(text => text.StartsWith(name + " ", StringComparison.Ordinal));
        int[] expected = Ids(line[name.Length..]);
        Assert.Equal(expected, Greedy(session, ids.AsSpan(0, 16), expected.Length));
    }

    [Fact]
    public void Weights_without_a_kernel_are_widened_and_named()
    {
        using GpuBackend backend = TestDevice.Backend();
        foreach ((string name, TensorEncoding encoding) in EncodedSamples.Encodings(128, 16))
        {
            TensorEncoding named = encoding with { Name = name };
            using Weight weight = backend.Upload(new EncodedTensor(named, EncodedSamples.Data(named, 3)));
            backend.Prepare(weight);
            bool isWidened = name is "int4-zeros" or "int3" or "llm.int8-outliers" or "int4-outliers" or "fp8" or "int4-static";
            Assert.Equal(isWidened, backend.WidenedWeights.Contains(name));
        }

        using Weight plain = backend.Upload(new TestWeights(BlockFormats.F32, 4, 32, 1));
        backend.Prepare(plain);
        Assert.Equal(6, backend.WidenedWeights.Count);
        Assert.Contains("widened to F32", backend.KernelName(Operation.MatMul, EncodedFormat.Of(EncodedSamples.Encodings(128, 16)["fp8"])), StringComparison.Ordinal);
    }

    [Fact]
    public void Greedy_generation_brings_ids_back_and_logits_when_they_are_asked_for()
    {
        GpuDevice device = TestDevice.Open(ProgramCache.Default());
        using GpuBackend backend = new(device, new GpuOptions());
        using LanguageModel model = Load(Fixtures.Golden("architectures", "llama-dense.gguf"), backend);
        SessionOptions options = new() { Context = 64, KvFormat = BlockFormats.F32 };
        int[] prompt = Ids(File.ReadAllText(Fixtures.Golden("architectures", "tokens.txt")))[..16];
        using Session plain = model.NewSession(options), session = model.NewSession(options), other = model.NewSession(options);
        List<int> expected = Greedy(plain, prompt, 6);
        session.Prefill(prompt, TestContext.Current.CancellationToken);
        other.Prefill(prompt.AsSpan(0, 9), TestContext.Current.CancellationToken);
        float[] others = other.Logits.ToArray();
        long before = device.ReadBytes;
        Generator generator = new(session, null, new SamplerChain(new SamplingOptions { Temperature = 0 }, model.VocabularySize), new GenerationOptions { MaxTokens = 6 });
        List<int> ids = [];
        while (generator.Next(TestContext.Current.CancellationToken))
            ids.Add(generator.Id);
        Assert.Equal(expected, ids);
        Assert.Equal(5 * 8, device.ReadBytes - before);
        Assert.True(session.HasLogits);

        // Another session's batch takes the place of the logits, which are read before.
        other.Evaluate([prompt[9]], TestContext.Current.CancellationToken);
        Assert.Equal(plain.Logits.ToArray(), session.Logits.ToArray());
        Assert.NotEqual(others, other.Logits.ToArray());

        // Going back forgets them.
        session.Rewind(4, TestContext.Current.CancellationToken);
        Assert.False(session.HasLogits);
    }

    [Fact]
    public void Models_and_backends_leave_no_buffer_behind()
    {
        int[] ids = Ids(File.ReadAllText(Fixtures.Golden("architectures", "tokens.txt")));
        foreach (string name in new[] { "llama-dense", "llama-moe", "llama-dense" })
        {
            GpuDevice device = TestDevice.Open(ProgramCache.Default());
            using (GpuBackend backend = new(device, new GpuOptions()))
            {
                int before = backend.LiveBuffers;
                using (LanguageModel model = Load(Fixtures.Golden("architectures", name + ".gguf"), backend))
                {
                    using Session session = model.NewSession(new SessionOptions { Context = 64, KvFormat = BlockFormats.F16 });
                    Greedy(session, ids.AsSpan(0, 16), 3);
                    Assert.InRange(backend.LiveBuffers, before + 20, 1000);
                }

                // What is left is the backend's own: the angles of the rotation and memory for the choice of experts, their tokens, and the numbers of rows.
                Assert.InRange(backend.LiveBuffers, before, before + 5);
            }

            Assert.Equal((0, 0L), (device.LiveBuffers, device.LiveBytes));
        }
    }

    [Fact]
    public void Whoever_frees_what_a_closed_backend_gave_is_not_in_the_way()
    {
        GpuDevice device = TestDevice.Open(ProgramCache.Default());
        GpuBackend backend = new(device, new GpuOptions());
        Tensor tensor = backend.Allocate(ElementType.Float32, 2, 3);
        Weight weight = backend.Upload(new TestWeights(BlockFormats.Q4_0, 20, 64, 1));
        backend.Prepare(weight);
        KvCache cache = backend.AllocateKv([new KvLayer(1, 32, 32)], 8, BlockFormats.F16, 4);
        backend.Dispose();
        backend.Dispose();

        // Activations, planes with their scales and table, keys and values.
        Assert.Equal(6, device.LiveBuffers);
        Assert.Throws<ObjectDisposedException>(() => backend.Scale(tensor, 2, tensor));
        Assert.Throws<ObjectDisposedException>(() => backend.Read(tensor, new float[6]));
        tensor.Buffer.Dispose();
        weight.Dispose();
        cache.Dispose();
        Assert.Equal((0, 0L), (device.LiveBuffers, device.LiveBytes));
    }

    [Fact]
    public void A_load_that_fails_halfway_leaves_no_buffer_behind()
    {
        // Weights fit into buffers of this size, and the states of so many tokens, but not what their layers need.
        using GpuBackend backend = TestDevice.Backend(new GpuOptions { MaxBufferBytes = 1 << 20 });
        int before = backend.LiveBuffers;
        string path = Fixtures.Golden("architectures", "llama-dense.gguf");
        using GgufFile file = GgufFile.Open(path);
        int width = file.Find("output_norm.weight")!.Columns, tokens = (1 << 20) / 4 / width;
        string message = Assert.Throws<InsufficientMemoryException>(() => LanguageModel.Load(GgufFile.Open(path), backend, new ModelOptions { BatchTokens = tokens })).Message;
        Assert.Contains("activations takes", message, StringComparison.Ordinal);
        Assert.Equal(before, backend.LiveBuffers);
    }

    [Fact]
    public void Keys_and_values_that_do_not_fit_leave_no_buffer_behind()
    {
        using GpuBackend backend = TestDevice.Backend(new GpuOptions { MaxBufferBytes = 1 << 20 });
        int before = backend.LiveBuffers;

        // A layer with a window is small whatever the context; the one that sees all of it is not.
        string message = Assert.Throws<InsufficientMemoryException>(() => backend.AllocateKv([new KvLayer(1, 32, 32, 16), new KvLayer(1, 32, 32)], 1 << 16, BlockFormats.F32, 16)).Message;
        Assert.Contains("keys of layer 1 takes 8,388,608 bytes", message, StringComparison.Ordinal);
        Assert.Equal(before, backend.LiveBuffers);
    }

    private static void CompareLogits(LanguageModel model, string prompt, string kv, double bound)
    {
        JsonElement positions = JsonDocument.Parse(File.ReadAllText(Fixtures.Golden("smollm2", "positions.json"))).RootElement;
        int[] ids = Ints(s_golden.GetProperty("logits").GetProperty(prompt).GetProperty("ids")), kept = Ints(positions.GetProperty(prompt));
        float[] theirs = Nmse.ReadFloats(Fixtures.Golden("smollm2", prompt + ".logits.f32"));
        using Session session = model.NewSession(new SessionOptions { Context = ids.Length, KvFormat = BlockFormats.Find(kv)! });
        float[] ours = Logits(session, ids);
        int vocabulary = model.VocabularySize;
        for (int i = 0; i < kept.Length; i++)
        {
            double nmse = Nmse.Of(ours.AsSpan(kept[i] * vocabulary, vocabulary), theirs.AsSpan(i * vocabulary, vocabulary));
            TestContext.Current.TestOutputHelper?.WriteLine($"{prompt}, position {kept[i]}: NMSE {nmse:E3}");
            Assert.True(nmse < bound, $"{prompt}, position {kept[i]}: NMSE {nmse:E3}");
        }
    }

    private static LanguageModel Load(string path, Backend backend) => LanguageModel.Load(GgufFile.Open(path), backend, new ModelOptions { BatchTokens = 512 });

    private static float[] Logits(Session session, int[] ids)
    {
        int vocabulary = session.Model.VocabularySize;
        float[] all = new float[ids.Length * vocabulary];
        session.Evaluate(ids, 0, (position, logits) => logits.CopyTo(all.AsSpan(position * vocabulary)), TestContext.Current.CancellationToken);
        return all;
    }

    private static List<int> Greedy(Session session, ReadOnlySpan<int> prompt, int count, params ReadOnlySpan<int> ends)
    {
        List<int> ids = [];
        session.Prefill(prompt, TestContext.Current.CancellationToken);
        while (ids.Count < count)
        {
            int best = 0;
            ReadOnlySpan<float> logits = session.Logits;
            for (int i = 1; i < logits.Length; i++)
                if (logits[i] > logits[best]) best = i;
            ids.Add(best);
            if (ends.Contains(best)) break;
            if (ids.Count < count) session.Evaluate([best], TestContext.Current.CancellationToken);
        }

        return ids;
    }

    private static int[] Ids(string text) => [.. text.Split([',', ' ', '\n', '\r'], StringSplitOptions.RemoveEmptyEntries).Select(part => int.Parse(part, System.Globalization.CultureInfo.InvariantCulture))];

    private static int[] Ints(JsonElement array) => [.. array.EnumerateArray().Select(element => element.GetInt32())];
}
