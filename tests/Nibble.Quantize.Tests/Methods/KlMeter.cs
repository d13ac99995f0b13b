using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Cpu;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;
using Nibble.Llm.Tokenizers;
using Nibble.Quantize.Evaluation;

namespace Nibble.Quantize.Tests.Methods;

/// <summary>KL(original || quantized) of jargon-6m on its evaluation text, by the definition of that fixture's README: the original's logits are computed once for all methods of a test class.</summary>
public sealed class KlMeter
{
    private const int Chunk = 512, First = 256;

    private readonly Lazy<(float[][] Logits, int[] Ids)> _baseline;

    public KlMeter() => _baseline = new(() =>
    {
        using GgufFile file = GgufFile.Open(Model);
        int[] ids = Tokenizer.FromMetadata(file.Metadata).Encode(File.ReadAllText(Fixtures.Shared("fixtures", "text", "evaluation.txt")), parseSpecial: false, addBosEos: false);
        return (Logits(Model, ids), ids);
    });

    /// <summary>The trained model; a test that asks is skipped where it is not there.</summary>
    public static string Model => Fixtures.Shared("models", "jargon-6m-bf16.gguf");

    /// <summary>The mean KL of a file, on the decoded weights, all in float32.</summary>
    public double Of(string path)
    {
        (float[][] baseline, int[] ids) = _baseline.Value;
        float[][] logits = Logits(path, ids);
        double[] kl = new double[logits.Length];
        Parallel.For(0, kl.Length, i => kl[i] = LogitComparison.Of(baseline[i], logits[i], 0).Kl);
        return kl.Average();
    }

    private static float[][] Logits(string path, int[] ids)
    {
        using CpuBackend backend = new(new CpuOptions { Exact = true });
        using LanguageModel model = LanguageModel.Load(GgufFile.Open(path), backend);
        using Session session = model.NewSession(new SessionOptions { Context = Chunk, KvFormat = BlockFormats.F32 });
        float[][] logits = new float[ids.Length / Chunk * (Chunk - 1 - First)][];
        int at = 0;
        for (int start = 0; start + Chunk <= ids.Length; start += Chunk)
        {
            session.Rewind(0, TestContext.Current.CancellationToken);
            session.Evaluate(ids.AsSpan(start, Chunk - 1), First, (_, row) => logits[at++] = row.ToArray(), TestContext.Current.CancellationToken);
        }

        return logits;
    }
}
