using System.Text.Json;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Cpu;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;
using Nibble.Llm.Tokenizers;
using Nibble.Quantize.Evaluation;

namespace Nibble.Quantize.Tests.Evaluation;

/// <summary>Perplexity of the default model on the evaluation text against transformers 5.23 in float32.</summary>
public class PerplexityTests
{
    private static readonly JsonElement Golden =
        JsonDocument.Parse(File.ReadAllText(Fixtures.Golden("smollm2", "golden.json"))).RootElement.GetProperty("perplexity");

    [Fact]
    public void Exact_arithmetic_gives_the_golden_perplexity_and_every_chunk()
    {
        PerplexityResult result = Measure(isExact: true);
        Assert.Equal(Golden.GetProperty("ids").GetInt32(), result.TextTokens);
        Assert.Equal(Golden.GetProperty("counted").GetInt32(), result.Counted);
        Assert.Equal(Golden.GetProperty("value").GetDouble(), result.Value, 0.01);
        double[] chunks = [.. Golden.GetProperty("per_chunk_nll").EnumerateArray().Select(element => element.GetDouble())];
        Assert.Equal(chunks.Length, result.ChunkNll.Count);
        for (int i = 0; i < chunks.Length; i++)
            Assert.Equal(chunks[i], result.ChunkNll[i], 1e-3);
    }

    [Fact]
    public void Fast_arithmetic_gives_it_within_one_percent()
    {
        double golden = Golden.GetProperty("value").GetDouble();
        Assert.InRange(Measure(isExact: false).Value, golden * 0.99, golden * 1.01);
    }

    [Fact]
    public void The_negative_log_likelihood_is_that_of_the_softmax()
    {
        // e^0 : e^ln 3 = 1 : 3.
        Assert.Equal(Math.Log(4), Perplexity.NegativeLogLikelihood([0, MathF.Log(3)], 0), 1e-6);
        Assert.Equal(Math.Log(4.0 / 3), Perplexity.NegativeLogLikelihood([0, MathF.Log(3)], 1), 1e-6);
        Assert.Equal(0, Perplexity.NegativeLogLikelihood([-1000, 1000], 1), 1e-6);
    }

    [Fact]
    public void A_text_shorter_than_a_chunk_is_refused_with_both_numbers()
    {
        using CpuBackend backend = new(new CpuOptions());
        using LanguageModel model = LanguageModel.Load(GgufFile.Open(Fixtures.Golden("architectures", "llama-dense.gguf")), backend);
        using Session session = model.NewSession();
        string message = Assert.Throws<ArgumentException>(() => Perplexity.Measure(session, new int[10], 16, null, null, TestContext.Current.CancellationToken)).Message;
        Assert.Contains("10 ids", message, StringComparison.Ordinal);
        Assert.Contains("16", message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => Perplexity.Measure(session, new int[10], 3, null, null, TestContext.Current.CancellationToken));
    }

    private static PerplexityResult Measure(bool isExact)
    {
        using CpuBackend backend = new(new CpuOptions { Exact = isExact });
        using LanguageModel model = LanguageModel.Load(GgufFile.Open(Path.Combine(Fixtures.Root, "models", "SmolLM2-135M-Instruct.Q4_1.gguf")), backend);
        int chunk = Golden.GetProperty("chunk").GetInt32();
        using Session session = model.NewSession(new SessionOptions { Context = chunk, KvFormat = isExact ? BlockFormats.F32 : BlockFormats.F16 });
        int[] ids = Tokenizer.FromMetadata(model.File.Metadata).Encode(File.ReadAllText(Fixtures.Golden("text", "evaluation.txt")), parseSpecial: false, addBosEos: false);
        return Perplexity.Measure(session, ids, chunk, null, null, TestContext.Current.CancellationToken);
    }
}
