using Nibble.Core.Gguf;
using Nibble.Cpu;
using Nibble.Llm.Models;
using Nibble.Llm.Tokenizers;
using Nibble.Quantize.Calibration;
using Nibble.Quantize.Quantization;

namespace Nibble.Quantize.Tests.Methods;

/// <summary>What methods make of jargon-6m, with its calibration text looked at once for all methods of a test class.</summary>
public sealed class MethodMeter : IDisposable
{
    private const int Chunk = 512;

    private readonly KlMeter _meter = new();
    private readonly TempFolder _folder = new();

    /// <summary>The KL of a plan's file, and its bytes.</summary>
    /// <param name="options">The plan.</param>
    /// <param name="chunks">Chunks of the calibration text, spread over it; 0 for all.</param>
    public (double Kl, long Bytes) Of(PlanOptions options, int chunks = 256)
    {
        string path = _folder.File("out.gguf");
        using GgufFile file = GgufFile.Open(KlMeter.Model);
        QuantizationPlan plan = QuantizationPlan.Create(file, options);
        using LanguageModel model = LanguageModel.Load(GgufFile.Open(KlMeter.Model), new RecordingBackend(new CpuBackend(new CpuOptions { Exact = true })));
        using CalibrationFeed? feed = plan.Needs is { } needs ? new CalibrationFeed(model, Text(file, chunks), new CalibrationOptions { Kinds = needs, CacheFolder = _folder.File("statistics") }, null) : null;
        QuantizationResult result = new ModelQuantizer(file, plan, null, null) { Statistics = feed }.Write(path, null, TestContext.Current.CancellationToken);
        Assert.Empty(result.Nearest);
        return (_meter.Of(path), result.FileBytes);
    }

    public void Dispose() => _folder.Dispose();

    private static IReadOnlyList<int[]> Text(GgufFile file, int chunks)
    {
        int[] ids = Tokenizer.FromMetadata(file.Metadata).Encode(File.ReadAllText(Fixtures.Shared("fixtures", "text", "calibration.txt")), parseSpecial: false, addBosEos: false);
        return CalibrationText.Cut(ids, Chunk, null).Spread(chunks).Chunks;
    }
}
