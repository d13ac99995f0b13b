using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Cpu;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;
using Nibble.Llm.Tokenizers;
using Nibble.Quantize.Evaluation;

namespace Nibble.Quantize.Tests.Evaluation;

/// <summary>KL divergence against formulas written out here, and against what torch measured on llama.cpp's files.</summary>
public class DivergenceTests
{
    [Fact]
    public void Two_ids_give_the_divergence_of_a_calculation_by_hand()
    {
        // p = 1/4, 3/4; q = 1/2, 1/2.
        LogitComparison found = LogitComparison.Of([0, MathF.Log(3)], [5, 5], 1);
        Assert.Equal((0.25 * Math.Log(0.5)) + (0.75 * Math.Log(1.5)), found.Kl, 1e-7);
        Assert.Equal(-Math.Log(0.75), found.BaselineNll, 1e-7);
        Assert.Equal(Math.Log(2), found.Nll, 1e-12);
        Assert.False(found.IsSameTop);
        Assert.True(LogitComparison.Of([1, 2, 0], [7, 8, 7], 0).IsSameTop);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(17)]
    [InlineData(64)]
    [InlineData(1003)]
    public void Every_number_of_ids_gives_the_divergence_of_the_definition(int vocabulary)
    {
        Random random = new(vocabulary);
        float[] baseline = [.. Enumerable.Range(0, vocabulary).Select(_ => (float)(random.NextDouble() * 30) - 100)];
        float[] model = [.. baseline.Select(value => value + (float)(random.NextDouble() * 2) + 300)];
        int target = vocabulary / 2;
        LogitComparison found = LogitComparison.Of(baseline, model, target);
        double[] p = Softmax(baseline), q = Softmax(model);
        Assert.Equal(p.Zip(q, (a, b) => a * Math.Log(a / b)).Sum(), found.Kl, 1e-10);
        Assert.Equal(-Math.Log(p[target]), found.BaselineNll, 1e-10);
        Assert.Equal(-Math.Log(q[target]), found.Nll, 1e-10);
        Assert.Equal(Array.IndexOf(p, p.Max()) == Array.IndexOf(q, q.Max()), found.IsSameTop);
    }

    [Fact]
    public void A_model_does_not_diverge_from_itself()
    {
        using CpuBackend backend = new(new CpuOptions { Exact = true });
        using LanguageModel model = LanguageModel.Load(GgufFile.Open(Fixtures.Golden("architectures", "llama-dense.gguf")), backend);
        using Session first = model.NewSession(new SessionOptions { Context = 64 }), second = model.NewSession(new SessionOptions { Context = 64 });
        DivergenceResult result = Divergence.Measure(first, second, Ids(200, model.VocabularySize), 64, 1, null, TestContext.Current.CancellationToken);
        Assert.Equal(0, result.KlMax, 1e-12);
        Assert.Equal(1, result.SameTop);
        Assert.Equal(1, result.PerplexityRatio);
        Assert.Equal(3 * 31, result.Model.Counted);
    }

    [Fact]
    public void Two_models_are_compared_prediction_by_prediction_whatever_part_of_a_chunk_is_kept()
    {
        CancellationToken cancellation = TestContext.Current.CancellationToken;
        const int Chunk = 48, Bos = 1;
        using CpuBackend backend = new(new CpuOptions { Exact = true });
        using LanguageModel baseline = LanguageModel.Load(GgufFile.Open(Fixtures.Golden("architectures", "llama-dense.gguf")), backend);
        using LanguageModel model = LanguageModel.Load(GgufFile.Open(Fixtures.Golden("architectures", "llama-moe.gguf")), backend);
        SessionOptions options = new() { Context = Chunk, KvFormat = BlockFormats.F32 };
        using Session first = baseline.NewSession(options), second = model.NewSession(options);
        int[] ids = Ids((3 * Chunk) + 7, baseline.VocabularySize);
        DivergenceResult whole = Divergence.Measure(first, second, ids, Chunk, Bos, null, cancellation);
        DivergenceResult sliced = Divergence.Measure(first, second, ids, Chunk, Bos, sliceBytes: 1, null, cancellation);
        Assert.Equal(whole.Kl, sliced.Kl, 1e-9);
        Assert.Equal(whole.Kl99, sliced.Kl99, 1e-9);

        List<double> kl = [], nll = [], baselineNll = [];
        int same = 0;
        for (int c = 0; c < 3; c++)
        {
            int[] chunk = [Bos, .. ids.AsSpan(c * Chunk, Chunk)[1..]];
            double[][] p = Probabilities(first, chunk), q = Probabilities(second, chunk);
            for (int position = Chunk / 2; position < Chunk - 1; position++)
            {
                kl.Add(p[position].Zip(q[position], (a, b) => a * Math.Log(a / b)).Sum());
                baselineNll.Add(-Math.Log(p[position][chunk[position + 1]]));
                nll.Add(-Math.Log(q[position][chunk[position + 1]]));
                if (Array.IndexOf(p[position], p[position].Max()) == Array.IndexOf(q[position], q[position].Max())) same++;
            }
        }

        Assert.Equal(kl.Average(), whole.Kl, 1e-6);
        Assert.Equal(kl.Max(), whole.KlMax, 1e-6);
        double spread = Math.Sqrt(kl.Sum(value => (value - kl.Average()) * (value - kl.Average())) / (kl.Count - 1));
        Assert.Equal(spread / Math.Sqrt(kl.Count), whole.KlError, 1e-6);
        Assert.Equal((double)same / kl.Count, whole.SameTop, 1e-12);
        Assert.Equal(Math.Exp(nll.Average()), whole.Model.Value, 1e-3);
        Assert.Equal(Math.Exp(baselineNll.Average()), whole.Baseline.Value, 1e-3);
        Assert.Equal(Perplexity.Measure(second, ids, Chunk, Bos, null, cancellation).Value, whole.Model.Value, 1e-2);
    }

    [Fact]
    public void A_quantile_lies_between_its_neighbours_in_proportion()
    {
        Assert.Equal(3, Divergence.Quantile([1, 2, 3, 4, 5], 0.5), 1e-12);
        Assert.Equal(4.96, Divergence.Quantile([1, 2, 3, 4, 5], 0.99), 1e-12);
        Assert.Equal(7, Divergence.Quantile([7], 0.99), 1e-12);
    }

    [Fact]
    public void Models_of_different_vocabularies_are_refused_with_both_sizes()
    {
        using CpuBackend backend = new(new CpuOptions());
        using LanguageModel model = LanguageModel.Load(GgufFile.Open(Fixtures.Golden("architectures", "llama-dense.gguf")), backend);
        using LanguageModel other = LanguageModel.Load(GgufFile.Open(Path.Combine(Fixtures.Root, "models", "SmolLM2-135M-Instruct.Q4_1.gguf")), backend);
        using Session first = model.NewSession(new SessionOptions { Context = 16 }), second = other.NewSession(new SessionOptions { Context = 16 });
        string message = Assert.Throws<ArgumentException>(() => Divergence.Measure(first, second, new int[16], 16, null, null, TestContext.Current.CancellationToken)).Message;
        Assert.Contains("49152", message, StringComparison.Ordinal);
        Assert.Contains($"{model.VocabularySize} ids", message, StringComparison.Ordinal);
    }

    /// <summary>Means that torch measured in float32 on the dequantized weights, with the share of equal top tokens; the table of that folder's README.md.</summary>
    [Theory]
    [InlineData("q4_k_m.gguf", 0.003763, 0.9412)]
    [InlineData("q4_k.pure.gguf", 0.009790, 0.8987)]
    public void Exact_arithmetic_gives_the_divergence_that_another_program_measured(string file, double kl, double sameTop)
    {
        string path = Fixtures.Shared("fixtures", "jargon-6m", file), text = Fixtures.Shared("fixtures", "text", "evaluation.txt"), original = Fixtures.Shared("models", "jargon-6m-bf16.gguf");
        using CpuBackend backend = new(new CpuOptions { Exact = true });
        using LanguageModel model = LanguageModel.Load(GgufFile.Open(path), backend), baseline = LanguageModel.Load(GgufFile.Open(original), backend);
        SessionOptions options = new() { Context = 512, KvFormat = BlockFormats.F32 };
        using Session session = model.NewSession(options), baselineSession = baseline.NewSession(options);
        int[] ids = Tokenizer.FromMetadata(model.File.Metadata).Encode(File.ReadAllText(text), parseSpecial: false, addBosEos: false);
        Assert.Equal(20980, ids.Length);
        DivergenceResult result = Divergence.Measure(baselineSession, session, ids, 512, null, null, TestContext.Current.CancellationToken);
        Assert.InRange(result.Kl, kl * 0.999, kl * 1.001);
        Assert.InRange(result.SameTop, sameTop - 0.0003, sameTop + 0.0003);
        Assert.Equal(76.4167, result.Baseline.Value, 1e-3);
    }

    private static int[] Ids(int count, int vocabulary)
    {
        Random random = new(5);
        return [.. Enumerable.Range(0, count).Select(_ => random.Next(vocabulary))];
    }

    private static double[][] Probabilities(Session session, int[] chunk)
    {
        session.Rewind(0, TestContext.Current.CancellationToken);
        List<double[]> rows = [];
        foreach (int id in chunk)
        {
            session.Evaluate([id], TestContext.Current.CancellationToken);
            rows.Add(Softmax(session.Logits.ToArray()));
        }

        return [.. rows];
    }

    private static double[] Softmax(float[] logits)
    {
        double highest = logits.Max();
        double[] exponentials = [.. logits.Select(logit => Math.Exp(logit - highest))];
        double sum = exponentials.Sum();
        return [.. exponentials.Select(value => value / sum)];
    }
}
