using Nibble.Core.Compute;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Cpu;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;
using Nibble.Quantize.Calibration;
using Nibble.Quantize.Methods;
using Nibble.Quantize.Quantization;

namespace Nibble.Quantize.Tests.Quantization;

/// <summary>Scales of activations: found on a text, stored, used, checked.</summary>
public sealed class StaticRangeTests : IDisposable
{
    private static readonly List<int[]> s_chunks = [[.. Enumerable.Range(3, 60)], [.. Enumerable.Range(50, 60)]];

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_scale_reaches_the_greatest_input_of_the_model_that_runs(bool isSmoothed)
    {
        // The same transform without rounding gives the inputs that the rounded model will have.
        string smoothed = _folder.File("smoothed.gguf"), path = _folder.File("static.gguf");
        LayerTransform? transform = isSmoothed ? new SmoothScaling() : null;
        Make(smoothed, BlockFormats.F32, transform);
        Make(path, TensorTarget.Find("int8:row:static-minmax")!, transform);
        using GgufFile file = GgufFile.Open(path);
        using LanguageModel floats = Load(smoothed);
        int compared = 0;
        Calibrator.Run(floats, s_chunks, new CalibrationOptions(), layer =>
        {
            foreach (ActivationStatistics input in layer.Inputs)
            {
                float greatest = input.Lowest.Zip(input.Highest, (low, high) => MathF.Max(-low, high)).Max();
                foreach (string weight in input.Weights)
                {
                    float scale = file.Weights.Find(weight)!.InputScale;
                    Assert.InRange(scale * 127 / greatest, 0.9999f, 1.0001f);
                    compared++;
                }
            }
        }, null, TestContext.Current.CancellationToken);
        Assert.Equal(file.Weights.Encoded.Count, compared);
        Assert.True(compared > 10);
    }

    [Fact]
    public void Estimators_give_different_scales_none_beyond_the_greatest_input()
    {
        Dictionary<string, float> scales = [];
        foreach ((string name, _) in RangeEstimator.All)
        {
            string path = _folder.File(name + ".gguf");
            Make(path, TensorTarget.Find("int8:row:static-" + name)!, new SmoothScaling(), _folder.File("statistics"));
            using GgufFile file = GgufFile.Open(path);
            Assert.All(file.Weights.Encoded, tensor => Assert.True(tensor.InputScale > 0));
            scales.Add(name, file.Weights.Find("blk.0.ffn_down.weight")!.InputScale);
        }

        Assert.Equal(5, scales.Values.Distinct().Count());
        Assert.All(scales, one => Assert.InRange(one.Value / scales["minmax"], 0.02f, 1));
    }

    [Fact]
    public void All_backends_come_to_the_same_model()
    {
        string path = _folder.File("out.gguf");
        Make(path, TensorTarget.Find("int8:row:static-3sigma")!, new SmoothScaling());
        int[] ids = [.. Enumerable.Range(9, 30)];
        float[] reference = Logits(new ReferenceBackend(), path, ids), exact = Logits(new CpuBackend(new CpuOptions { Exact = true }), path, ids), packed = Logits(new CpuBackend(), path, ids);

        // A last bit may send an activation to the next multiple, which costs 1 / 127 of the range.
        Assert.InRange(Nmse.Of(exact, reference), 0, 1e-4);
        Assert.InRange(Nmse.Of(packed, reference), 0, 1e-3);
    }

    [Fact]
    public void Held_out_text_shows_what_ranges_clip()
    {
        Dictionary<string, RangeLoss> tight = Losses("3sigma"), wide = Losses("minmax");
        Assert.Equal(wide.Keys, tight.Keys);
        Assert.True(wide.Count > 10);
        Assert.All(wide.Values, loss => Assert.InRange(loss.ClippedShare, 0, 0.001));
        Assert.All(wide.Values, loss => Assert.InRange(loss.Error, 1e-7, 0.01));
        Assert.InRange(tight.Values.Sum(loss => loss.Clipped) / (double)tight.Values.Sum(loss => loss.Values), 0.0005, 0.05);

        // By hand, of one weight.
        using LanguageModel model = Load(_folder.File("3sigma.gguf"));
        RecordingBackend recorder = (RecordingBackend)model.Backend;
        Counter counter = new("blk.1.ffn_down.weight");
        recorder.Observer = counter;
        using Session session = model.NewSession(new SessionOptions { Context = 64, KvFormat = BlockFormats.F32 });
        session.Evaluate(s_chunks[0], s_chunks[0].Length - 1, (_, _) => { }, TestContext.Current.CancellationToken);
        RangeLoss own = tight["blk.1.ffn_down.weight"];
        Assert.Equal((counter.Values, counter.Clipped), (own.Values, own.Clipped));
        Assert.Equal(counter.Errors / counter.Squares, own.Error, 1e-6);

        Dictionary<string, RangeLoss> Losses(string range)
        {
            string path = _folder.File(range + ".gguf");
            Make(path, TensorTarget.Find("int8:row:static-" + range)!, null);
            using LanguageModel model = Load(path);
            return RangeCheck.Run(model, s_chunks[..1], TestContext.Current.CancellationToken).ToDictionary(loss => loss.Weight);
        }
    }

    [Theory]
    [InlineData("int8:row:static-minmax")]
    [InlineData("int4:g64:asym:static-percentile")]
    [InlineData("nf4:double:static-3sigma")]
    [InlineData("llm.int8:static-entropy")]
    public void Targets_are_read_back_from_their_names(string name)
    {
        EncodingTarget target = Assert.IsType<EncodingTarget>(TensorTarget.Find(name), exactMatch: false);
        Assert.Equal(name, target.Name);
        Assert.EndsWith(target.InputRange!, name, StringComparison.Ordinal);
        Assert.Null(TensorTarget.Find(name + "x"));
        Assert.Null(TensorTarget.Find("Q8_0:static-minmax"));
    }

    [Fact]
    public void What_has_no_activations_is_refused()
    {
        string path = Fixtures.Golden("architectures", "llama-dense.gguf");
        using GgufFile file = GgufFile.Open(path);
        PlanOptions options = new() { Target = TensorTarget.Find("int8:row"), Overrides = [(new("token_embd"), TensorTarget.Find("int8:row:static-mse")!)] };
        Assert.Contains("stands outside of the layers", Assert.Throws<QuantizationException>(() => QuantizationPlan.Create(file, options)).Message, StringComparison.Ordinal);

        // A text of one token reaches one expert of a layer; where there is none at all the layer's input is missing.
        using ActivationStatistics zeros = Zeros();
        PlannedTensor tensor = new(file.Weights.Find("blk.0.attn_q.weight")!, TensorTarget.Find("int8:row:static-mse")!, new RoundToNearest());
        foreach (ActivationStatistics? inputs in (ActivationStatistics?[])[null, zeros])
            Assert.Contains("no activations but zeros were seen", Assert.Throws<QuantizationException>(() => InputScales.Of(tensor, inputs, null)).Message, StringComparison.Ordinal);
    }

    private static ActivationStatistics Zeros()
    {
        using InputAccumulator accumulator = new(["blk.0.attn_q.weight"], 64, 1, StatisticKinds.Histogram);
        accumulator.Add(0, new float[128], 2);
        return accumulator.Finish();
    }

    private static float[] Logits(Backend backend, string path, int[] ids)
    {
        using (backend)
        {
            using LanguageModel model = LanguageModel.Load(GgufFile.Open(path), backend);
            using Session session = model.NewSession(new SessionOptions { Context = 64, KvFormat = BlockFormats.F32 });
            List<float> logits = [];
            session.Evaluate(ids, 0, (_, row) => logits.AddRange(row), TestContext.Current.CancellationToken);
            return [.. logits];
        }
    }

    private static LanguageModel Load(string path) => LanguageModel.Load(GgufFile.Open(path), new RecordingBackend(new CpuBackend(new CpuOptions { Exact = true })));

    private static void Make(string path, TensorTarget target, LayerTransform? transform, string? cache = null)
    {
        string source = Fixtures.Golden("architectures", "llama-dense.gguf");
        using GgufFile file = GgufFile.Open(source);
        QuantizationPlan plan = QuantizationPlan.Create(file, new PlanOptions { Target = target, Transform = transform });
        if (plan.Needs is not { } needs)
        {
            new ModelQuantizer(file, plan, null, null).Write(path, null, TestContext.Current.CancellationToken);
            return;
        }

        using LanguageModel model = Load(source);
        using CalibrationFeed feed = new(model, s_chunks, new CalibrationOptions { Kinds = needs, CacheFolder = cache }, null);
        new ModelQuantizer(file, plan, null, null) { Statistics = feed }.Write(path, null, TestContext.Current.CancellationToken);
    }

    private sealed class Counter(string name) : IActivationObserver
    {
        public long Values { get; private set; }

        public long Clipped { get; private set; }

        public double Squares { get; private set; }

        public double Errors { get; private set; }

        public void Observe(ReadOnlySpan<Weight> weights, ReadOnlySpan<float> x, int rows)
        {
            if (weights[0].Name != name) return;
            foreach (float value in x)
            {
                double multiple = Math.Clamp(Math.Round(value / (double)weights[0].InputScale), -127, 127);
                if (Math.Abs(value / (double)weights[0].InputScale) > 127.5) Clipped++;
                (Values, Squares, Errors) = (Values + 1, Squares + ((double)value * value), Errors + Math.Pow(value - (multiple * weights[0].InputScale), 2));
            }
        }

        public void ObserveExperts(Weight weight, ReadOnlySpan<float> x, int rows, ReadOnlySpan<int> experts) => Assert.Fail("there are no experts");
    }
}
