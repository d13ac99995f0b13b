using System.Text.Json;
using Nibble.Core.Compute;
using Nibble.Cpu;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;

namespace Nibble.Llm.Tests.Models;

/// <summary>The default model against transformers 5.23 on the dequantized weights (llama.cpp v0.5.0 agrees to an NMSE of 3e-11).</summary>
public class SmolLm2Tests
{
    private const double Bound = 1e-8;
    private const int EndOfTurn = 2;

    private static readonly JsonElement Golden = JsonDocument.Parse(File.ReadAllText(Fixtures.Golden("smollm2", "golden.json"))).RootElement;
    private static readonly JsonElement KeptPositions = JsonDocument.Parse(File.ReadAllText(Fixtures.Golden("smollm2", "positions.json"))).RootElement;

    [Theory]
    [InlineData("france", "reference")]
    [InlineData("code", "reference")]
    [InlineData("france", "cpu-exact")]
    [InlineData("code", "cpu-exact")]
    [InlineData("long", "cpu-exact")]
    public void Logits_equal_transformers_at_the_kept_positions(string prompt, string device) =>
        Check(prompt, device, TestModels.Ints(KeptPositions.GetProperty(prompt)), Fixtures.Golden("smollm2", prompt + ".logits.f32"));

    [Theory]
    [InlineData("france", "cpu-exact")]
    [InlineData("code", "cpu-exact")]
    [InlineData("long", "cpu-exact")]
    [InlineData("france", "reference")]
    [InlineData("code", "reference")]
    public void Logits_equal_transformers_at_every_position(string prompt, string device) =>
        Check(prompt, device, TestModels.Ints(Golden.GetProperty("logits").GetProperty(prompt).GetProperty("positions")), Fixtures.Shared("fixtures", "smollm2", prompt + ".logits.f32"));

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void Greedy_answers_equal_transformers(int question)
    {
        using Backend backend = TestModels.Open("cpu-exact");
        using LanguageModel model = TestModels.Load(TestModels.SmolLm2, backend);
        using Session session = TestModels.ExactSession(model);
        JsonElement answer = Golden.GetProperty("greedy")[question];
        int[] expected = TestModels.Ints(answer.GetProperty("ids"));
        Assert.Equal(expected, TestModels.Greedy(session, TestModels.Ints(answer.GetProperty("prompt_ids")), 48, EndOfTurn));
    }

    [Fact]
    public void Logits_of_the_fast_path_are_near_the_exact_ones_and_have_the_same_bits_on_every_path_with_fused_products()
    {
        int[] ids = TestModels.Ints(Golden.GetProperty("logits").GetProperty("code").GetProperty("ids"));
        float[] exact = Last(new CpuOptions { Exact = true }), fast = [];
        // Activations of 8 bits move the logits of this small model by an NMSE of about 1e-3.
        foreach (CpuPath path in CpuPaths.All.Where(path => path.IsSupported))
        {
            float[] logits = Last(new CpuOptions { Path = path.Name });
            Assert.InRange(Nmse.Of(logits, exact), 1e-9, 5e-3);
            if (path.Name == "vector128") continue;
            if (fast.Length == 0) fast = logits;
            Assert.True(fast.AsSpan().SequenceEqual(logits), $"{path.Name} has other logits than the first path");
        }

        float[] Last(CpuOptions options)
        {
            using CpuBackend backend = new(options);
            using LanguageModel model = TestModels.Load(TestModels.SmolLm2, backend);
            using Session session = model.NewSession(new SessionOptions { Context = ids.Length });
            session.Evaluate(ids, TestContext.Current.CancellationToken);
            return session.Logits.ToArray();
        }
    }

    private static void Check(string prompt, string device, int[] positions, string file)
    {
        using Backend backend = TestModels.Open(device);
        using LanguageModel model = TestModels.Load(TestModels.SmolLm2, backend);
        int[] ids = TestModels.Ints(Golden.GetProperty("logits").GetProperty(prompt).GetProperty("ids"));
        using Session session = TestModels.ExactSession(model, ids.Length);
        float[] theirs = Nmse.ReadFloats(file);
        Assert.Equal(positions.Length * model.VocabularySize, theirs.Length);
        int kept = 0;
        session.Evaluate(
            ids,
            positions[0],
            (position, logits) =>
            {
                if (kept == positions.Length || position != positions[kept]) return;
                double nmse = Nmse.Of(logits, theirs.AsSpan(kept * model.VocabularySize, model.VocabularySize));
                Assert.True(nmse < Bound, $"position {position}: NMSE {nmse:E3}");
                kept++;
            },
            TestContext.Current.CancellationToken);
        Assert.Equal(positions.Length, kept);
    }
}
