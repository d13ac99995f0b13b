using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Cpu;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;
using Nibble.Quantize.Calibration;
using Nibble.Quantize.Methods;
using Nibble.Quantize.Quantization;

namespace Nibble.Quantize.Tests.Methods;

/// <summary>Factors that are moved between tensors change no logits, whatever they are.</summary>
public sealed class FoldedScalesTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("llama-dense.gguf", 4)]
    [InlineData("qwen2-dense.gguf", 4)]
    [InlineData("qwen3-dense.gguf", 4)]
    [InlineData("gemma2-dense.gguf", 4)]
    [InlineData("gemma3-dense.gguf", 4)]
    [InlineData("phi3-dense.gguf", 3)]
    [InlineData("granite-dense.gguf", 4)]
    [InlineData("smollm3-dense.gguf", 4)]
    [InlineData("mistral3-dense.gguf", 4)]
    [InlineData("llama-moe.gguf", 2)]
    [InlineData("gpt-oss-moe.gguf", 0)]
    public void A_layer_computes_what_it_did(string name, int pairs)
    {
        string path = Fixtures.Shared("fixtures", "architectures", name), output = _folder.File("out.gguf");
        Randomly random = new();
        using (GgufFile file = GgufFile.Open(path))
        using (LanguageModel model = Load(path, record: true))
        using (CalibrationFeed feed = new(model, [[1, 2, 3, 4, 5, 6, 7, 8]], new CalibrationOptions { Kinds = random.Needs }, null))
        {
            QuantizationPlan plan = QuantizationPlan.Create(file, new PlanOptions { Target = BlockFormats.F32, Transform = random });
            new ModelQuantizer(file, plan, null, null) { Statistics = feed }.Write(output, null, TestContext.Current.CancellationToken);
            Assert.Equal(pairs * plan.Tensors.Max(tensor => TensorNames.Layer(tensor.Source.Name) + 1), random.Pairs);
        }

        float[] expected = Logits(path), actual = Logits(output);
        Assert.InRange(Nmse.Of(actual, expected), 0, 1e-9);
        if (pairs > 0) Assert.NotEqual(expected, actual);
    }

    private static float[] Logits(string path)
    {
        using LanguageModel model = Load(path, record: false);
        using Session session = model.NewSession(new SessionOptions { Context = 64, KvFormat = BlockFormats.F32 });
        List<float> logits = [];
        session.Evaluate([.. Enumerable.Range(5, 40)], 0, (_, row) => logits.AddRange(row), TestContext.Current.CancellationToken);
        return [.. logits];
    }

    private static LanguageModel Load(string path, bool record)
    {
        Backend backend = new CpuBackend(new CpuOptions { Exact = true });
        return LanguageModel.Load(GgufFile.Open(path), record ? new RecordingBackend(backend) : backend);
    }

    private sealed class Randomly : LayerTransform
    {
        private readonly Random _random = new(4);

        public int Pairs { get; private set; }

        public override string Name => "random";

        public override StatisticKinds Needs => StatisticKinds.Columns;

        public override LayerChange Apply(LayerView layer, CancellationToken cancellation)
        {
            LayerChange change = new();
            foreach (FoldedScales pair in FoldedScales.Of(layer))
            {
                pair.Fold([.. Enumerable.Range(0, pair.Count).Select(_ => 0.25f + (3 * _random.NextSingle()))], change);
                Pairs++;
            }

            return change;
        }
    }
}
