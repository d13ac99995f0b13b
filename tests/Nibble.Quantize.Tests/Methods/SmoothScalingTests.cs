using Nibble.Core.Gguf;
using Nibble.Cpu;
using Nibble.Llm.Models;
using Nibble.Quantize.Calibration;
using Nibble.Quantize.Methods;
using Nibble.Quantize.Quantization;

namespace Nibble.Quantize.Tests.Methods;

/// <summary>Smoothed layers: what is rounded to 8 bits with one scale becomes even.</summary>
public sealed class SmoothScalingTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Inputs_and_weights_of_a_channel_have_the_same_greatest_magnitude()
    {
        string path = Fixtures.Golden("architectures", "llama-dense.gguf"), output = _folder.File("out.gguf");
        List<int[]> chunks = [[.. Enumerable.Range(3, 60)]];
        using GgufFile file = GgufFile.Open(path);
        using (LanguageModel model = Load(path))
        using (CalibrationFeed feed = new(model, chunks, new CalibrationOptions(), null))
        {
            QuantizationPlan plan = QuantizationPlan.Create(file, new PlanOptions { Target = Nibble.Core.Formats.BlockFormats.F32, Transform = new SmoothScaling() });
            new ModelQuantizer(file, plan, null, null) { Statistics = feed }.Write(output, null, TestContext.Current.CancellationToken);
        }

        using LanguageModel smoothed = Load(output);
        int compared = 0;
        Calibrator.Run(smoothed, chunks, new CalibrationOptions(), layer =>
        {
            // Of the others the rows change later, or heads share factors.
            ActivationStatistics input = layer.Find($"blk.{layer.Layer}.ffn_down.weight")!;
            float[] weights = RoundingTask.Values(smoothed.File.Weights.Find($"blk.{layer.Layer}.ffn_down.weight")!, 0);
            for (int c = 0; c < input.Columns; c++)
            {
                float x = MathF.Max(-input.Lowest[c], input.Highest[c]), w = 0;
                for (int i = c; i < weights.Length; i += input.Columns) w = MathF.Max(w, MathF.Abs(weights[i]));
                Assert.Equal(x, w, 0.01f * x);
                compared++;
            }
        }, null, TestContext.Current.CancellationToken);
        Assert.True(compared > 100);
    }

    [Theory]
    [InlineData("smooth", 0.5)]
    [InlineData("smooth:0.75", 0.75)]
    public void A_transform_is_read_back_from_its_name(string name, double strength)
    {
        SmoothScaling transform = Assert.IsType<SmoothScaling>(RoundingMethods.FindTransform(name));
        Assert.Equal((name, strength), (transform.Name, transform.Strength));
    }

    [Theory]
    [InlineData("smooth:2")]
    [InlineData("smooth:a")]
    [InlineData("smoother")]
    public void What_names_no_transform_is_none(string name) => Assert.Null(RoundingMethods.FindTransform(name));

    private static LanguageModel Load(string path) => LanguageModel.Load(GgufFile.Open(path), new RecordingBackend(new CpuBackend(new CpuOptions { Exact = true })));
}
