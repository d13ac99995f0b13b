using System.Runtime.InteropServices;
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

/// <summary>Columns that LLM.int8 keeps apart: which, what they hold, and what that is good for.</summary>
public sealed class OutlierSearchTests : IDisposable
{
    private const int Planted = 5;

    private static readonly List<int[]> s_chunks = [[.. Enumerable.Range(3, 60)], [.. Enumerable.Range(50, 60)]];

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_column_is_apart_from_the_threshold_on_in_either_sign()
    {
        using GgufFile file = GgufFile.Open(Fixtures.Golden("architectures", "llama-dense.gguf"));
        QuantizationPlan plan = QuantizationPlan.Create(
            file, new PlanOptions { Target = TensorTarget.Find("llm.int8:t6"), Overrides = [(new("blk.1"), TensorTarget.Find("llm.int8")!), (new("attn_k"), TensorTarget.Find("int8:row")!)] });
        Assert.Null(plan.Needs);
        Assert.True(plan.SeeksOutliers);
        int columns = file.Weights.Find("blk.0.attn_q.weight")!.Columns;
        float[] x = new float[2 * columns];
        (x[1], x[2], x[3], x[columns + 4], x[columns - 1]) = (MathF.BitDecrement(6), 6, -6, 70, MathF.BitIncrement(-6));
        using InputAccumulator accumulator = new(["blk.0.attn_q.weight", "blk.0.attn_k.weight"], columns, 1, OutlierSearch.Needs);
        accumulator.Add(0, x, 2);
        using Source statistics = new(new LayerStatistics(0, [accumulator.Finish()]));
        OutlierResult result = OutlierSearch.Run(plan, statistics, TestContext.Current.CancellationToken);
        Assert.Equal([0], statistics.Asked);
        Assert.False(result.Plan.SeeksOutliers);
        Assert.Equal([2, 3, 4], Of("blk.0.attn_q.weight").Outliers!);
        Assert.Empty(Of("blk.0.ffn_up.weight").Outliers!);
        Assert.Null(Of("blk.0.attn_k.weight").Outliers);
        Assert.Null(Of("blk.1.attn_q.weight").Outliers);
        Assert.Contains("blk.0.ffn_up.weight", result.Unread);
        Assert.DoesNotContain("blk.0.attn_q.weight", result.Unread);
        Assert.Equal(Of("blk.0.attn_q.weight").Describe()!.ByteLength, Of("blk.0.attn_q.weight").ByteLength);

        PlannedTensor Of(string name) => result.Plan.Tensors.Single(tensor => tensor.Source.Name == name);
    }

    [Fact]
    public void Files_have_exactly_the_columns_of_large_activations_in_float16_and_the_rest_by_rows()
    {
        const double Threshold = 2;
        string model = Plant(), path = _folder.File("out.gguf");
        Make(model, path, "llm.int8:t2");
        using GgufFile file = GgufFile.Open(path), original = GgufFile.Open(model);
        int withColumns = 0, without = 0;
        using LanguageModel floats = Load(model);
        Calibrator.Run(floats, s_chunks, new CalibrationOptions(), layer =>
        {
            foreach (ActivationStatistics input in layer.Inputs)
            {
                int[] expected = [.. Enumerable.Range(0, input.Columns).Where(i => input.Highest[i] >= Threshold || input.Lowest[i] <= -Threshold)];
                foreach (string weight in input.Weights)
                {
                    if (file.Weights.Find(weight) is not EncodedTensor tensor) continue;
                    Assert.Equal(expected, tensor.OutlierColumns.ToArray());
                    if (expected.Length > 0) withColumns++;
                    else without++;
                    CheckValues(original.Weights.Find(weight)!, tensor, expected);
                }
            }
        }, null, TestContext.Current.CancellationToken);
        Assert.True(withColumns > 2, $"{withColumns} tensors have columns apart, {without} have none");
        Assert.Equal(file.Weights.Encoded.Count, withColumns + without);
        Assert.InRange(file.Weights.Encoded.Select(tensor => tensor.Format).Distinct().Count(), 1, 2); // whatever the numbers of columns
        Assert.Contains(Planted, ((EncodedTensor)file.Weights.Find("blk.0.attn_q.weight")!).OutlierColumns.ToArray());
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_model_of_one_large_channel_loses_less_with_its_column_apart(bool isExact)
    {
        string model = Plant(), apart = _folder.File("apart.gguf"), together = _folder.File("together.gguf");
        Make(model, apart, "llm.int8:t6");
        Make(model, together, "llm.int8");
        using (GgufFile file = GgufFile.Open(apart))
            Assert.Contains(Planted, ((EncodedTensor)file.Weights.Find("blk.0.attn_q.weight")!).OutlierColumns.ToArray());
        float[] truth = Logits(model, isExact: true);
        double lossApart = Nmse.Of(Logits(apart, isExact), truth), lossTogether = Nmse.Of(Logits(together, isExact), truth);
        Assert.True(lossApart > 0);
        Assert.True(lossApart * 2 < lossTogether, $"{lossApart} apart, {lossTogether} together");
    }

    [Fact]
    public void Experts_have_no_columns_apart()
    {
        string path = _folder.File("out.gguf");
        QuantizationPlan plan = Make(Fixtures.Golden("architectures", "llama-moe.gguf"), path, "llm.int8:t0.001");
        Assert.All(plan.Tensors.Where(tensor => tensor.Source.Matrices > 1), tensor => Assert.Empty(tensor.Outliers!));
        Assert.Contains(plan.Tensors, tensor => tensor.Outliers is { Count: > 0 });
        using GgufFile file = GgufFile.Open(path);
        Assert.Contains(file.Weights.Encoded, tensor => tensor.Matrices > 1 && tensor.OutlierColumns.IsEmpty);
    }

    [Theory]
    [InlineData("llm.int8:t6", 6)]
    [InlineData("llm.int8:t0.125", 0.125)]
    public void A_threshold_is_read_back_from_its_name(string name, double threshold)
    {
        Assert.Equal(threshold, Assert.IsType<Int8Target>(TensorTarget.Find(name)).Threshold);
        Assert.Equal(name, TensorTarget.Find(name)!.Name);
    }

    [Theory]
    [InlineData("llm.int8:t")]
    [InlineData("llm.int8:t0")]
    [InlineData("llm.int8:t-1")]
    [InlineData("llm.int8:tnan")]
    [InlineData("llm.int8:t1e999")]
    [InlineData("llm.int8:t6:t7")]
    [InlineData("int8:row:t6")]
    public void What_is_no_threshold_is_no_target(string name) => Assert.Null(TensorTarget.Find(name));

    [Fact]
    public void Thresholds_that_mean_nothing_are_refused()
    {
        using GgufFile file = GgufFile.Open(Fixtures.Golden("architectures", "llama-dense.gguf"));
        TensorTarget target = TensorTarget.Find("llm.int8:t6")!;
        Assert.Contains("stands outside of the layers", Fails(new() { Target = target, Overrides = [(new("token_embd"), target)] }), StringComparison.Ordinal);
        Assert.Contains("leave out one", Fails(new() { Target = target, Transform = new SmoothScaling() }), StringComparison.Ordinal);
        Assert.Contains("leave out one", Fails(new() { Target = TensorTarget.Find("llm.int8:t6:static-mse") }), StringComparison.Ordinal);

        string Fails(PlanOptions options) => Assert.Throws<QuantizationException>(() => QuantizationPlan.Create(file, options)).Message;
    }

    private static void CheckValues(IWeightSource original, EncodedTensor tensor, int[] apart)
    {
        float[] before = new float[tensor.Columns], after = new float[tensor.Columns];
        byte[] codes = new byte[tensor.Columns];
        bool[] isApart = new bool[tensor.Columns];
        foreach (int column in apart) isApart[column] = true;
        for (int row = 0; row < tensor.Rows; row++)
        {
            original.CopyRow(row, before);
            tensor.DecodeRow(row, after);
            tensor.CopyCodes(row, codes);
            float largest = 0;
            for (int i = 0; i < before.Length; i++)
                if (!isApart[i]) largest = MathF.Max(largest, MathF.Abs((float)(Half)before[i]));
            for (int i = 0; i < before.Length; i++)
            {
                Assert.InRange(MathF.Abs(after[i] - (isApart[i] ? (float)(Half)before[i] : before[i])), 0, isApart[i] ? 0 : largest * ((1.01f / 254) + 0.0005f));
                if (isApart[i]) Assert.Equal(128, codes[i]);
            }
        }
    }

    // The norm before the first layer's attention makes one channel 200 times as large, and its weights are that much smaller: the same model.
    private string Plant()
    {
        const float Factor = 200;
        string path = _folder.File("planted.gguf");
        using GgufFile file = GgufFile.Open(Fixtures.Golden("architectures", "llama-dense.gguf"));
        GgufWriter writer = new();
        foreach (GgufEntry entry in file.Metadata) writer.Set(entry.Key, entry.Value);
        foreach (GgufTensor tensor in file.Tensors)
        {
            bool isNorm = tensor.Name == "blk.0.attn_norm.weight";
            if (!isNorm && tensor.Name is not ("blk.0.attn_q.weight" or "blk.0.attn_k.weight" or "blk.0.attn_v.weight"))
            {
                writer.AddTensor(tensor);
                continue;
            }

            float[] values = new float[tensor.RowCount * tensor.Columns];
            for (int row = 0; row < tensor.RowCount; row++)
            {
                Span<float> one = values.AsSpan(row * tensor.Columns, tensor.Columns);
                tensor.Format.Decode(tensor.Row(row), one);
                one[Planted] = isNorm ? one[Planted] * Factor : one[Planted] / Factor;
            }

            writer.AddTensor(tensor.Name, BlockFormats.F32, tensor.Dimensions.AsSpan(), MemoryMarshal.AsBytes(values.AsSpan()).ToArray());
        }

        writer.Write(path);
        return path;
    }

    private static QuantizationPlan Make(string source, string path, string target)
    {
        using GgufFile file = GgufFile.Open(source);
        QuantizationPlan plan = QuantizationPlan.Create(file, new PlanOptions { Target = TensorTarget.Find(target) });
        if (plan.SeeksOutliers)
        {
            using LanguageModel model = Load(source);
            using CalibrationFeed feed = new(model, s_chunks, new CalibrationOptions { Kinds = OutlierSearch.Needs }, null);
            plan = OutlierSearch.Run(plan, feed, TestContext.Current.CancellationToken).Plan;
        }

        new ModelQuantizer(file, plan, null, null).Write(path, null, TestContext.Current.CancellationToken);
        return plan;
    }

    private static float[] Logits(string path, bool isExact)
    {
        using CpuBackend backend = new(new CpuOptions { Exact = isExact });
        using LanguageModel model = LanguageModel.Load(GgufFile.Open(path), backend);
        using Session session = model.NewSession(new SessionOptions { Context = 64, KvFormat = BlockFormats.F32 });
        List<float> logits = [];
        session.Evaluate(s_chunks[0], 0, (_, row) => logits.AddRange(row), TestContext.Current.CancellationToken);
        return [.. logits];
    }

    private static LanguageModel Load(string path) => LanguageModel.Load(GgufFile.Open(path), new RecordingBackend(new CpuBackend(new CpuOptions { Exact = true })));

    private sealed class Source(LayerStatistics only) : IStatisticsSource
    {
        public List<int> Asked { get; } = [];

        public string Identity => "one layer";

        public int LayerCount => 2;

        public LayerStatistics? Layer(int layer, CancellationToken cancellation)
        {
            Asked.Add(layer);
            return layer == only.Layer ? only : null;
        }

        public void Dispose() => only.Dispose();
    }
}
