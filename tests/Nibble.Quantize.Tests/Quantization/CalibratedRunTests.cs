using System.Text.RegularExpressions;
using Nibble.Core.Compute;
using Nibble.Core.Gguf;
using Nibble.Cpu;
using Nibble.Llm.Models;
using Nibble.Quantize.Calibration;
using Nibble.Quantize.Methods;
using Nibble.Quantize.Quantization;

namespace Nibble.Quantize.Tests.Quantization;

/// <summary>Runs whose methods look at activations: stopped, taken up, with layers together or one by one.</summary>
public sealed class CalibratedRunTests : IDisposable
{
    private static readonly List<int[]> s_chunks = [[.. Enumerable.Range(3, 40)], [.. Enumerable.Range(80, 40)]];

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("gptq:act-order", "int4:g64:asym")]
    [InlineData("gptq:refine=1", "Q4_0")]
    [InlineData("awq", "int4:g32")]
    [InlineData("rtn", "int8:row:static-entropy")]
    [InlineData("awq", "int8:g32:static-mse")]
    [InlineData("rtn", "llm.int8:t1.5")]
    public void A_stopped_run_ends_in_the_same_bytes_and_so_does_one_layer_at_a_time(string method, string target)
    {
        string whole = _folder.File("whole.gguf"), stopped = _folder.File("stopped.gguf"), single = _folder.File("single.gguf");
        Run(method, target, whole, long.MaxValue, null);
        Run(method, target, single, 1, null);
        Assert.Equal(File.ReadAllBytes(whole), File.ReadAllBytes(single));
        int resumed = 0;
        foreach (string tensor in (string[])["blk.0.attn_v.weight", "blk.1.attn_norm.weight", "blk.1.ffn_up.weight"])
        {
            Assert.ThrowsAny<OperationCanceledException>(() => Run(method, target, stopped, long.MaxValue, tensor));
            Assert.False(File.Exists(stopped));
        }

        resumed = Run(method, target, stopped, 1, null).Resumed;
        Assert.True(resumed > 10, $"{resumed} tensors were taken up");
        Assert.Equal(File.ReadAllBytes(whole), File.ReadAllBytes(stopped));
    }

    [Theory]
    [InlineData("gptq:act-order", "int4:g64:asym")]
    [InlineData("gptq:refine=1", "Q4_0")]
    [InlineData("gptq", "nf4")]
    [InlineData("awq", "int4:g32")]
    public void An_output_matrix_is_rounded_by_what_is_seen_behind_the_layers_and_stays_in_its_place(string method, string target)
    {
        string nearest = _folder.File("nearest.gguf"), whole = _folder.File("whole.gguf"), stopped = _folder.File("stopped.gguf"), slices = _folder.File("slices.gguf");
        Run("rtn", "Q8_0", nearest, long.MaxValue, null, overrides: [new("output.weight", target)]);
        Assert.Empty(Run(method, target, whole, long.MaxValue, null, overrides: [new("output.weight", target)]).Nearest);
        using (GgufFile file = GgufFile.Open(whole), other = GgufFile.Open(nearest))
        {
            IWeightSource made = file.Weights.Find("output.weight")!, compared = other.Weights.Find("output.weight")!;
            Assert.Equal(compared.Format, made.Format);
            Assert.Equal(["output.weight", "output_norm.weight"], file.Weights.All.Take(2).Select(tensor => tensor.Name));
            double loss = OutputLoss(made), plain = OutputLoss(compared);
            Assert.True(loss < 0.95 * plain, $"{loss} by {method}, {plain} by nearest");
        }

        // One layer at a time, a few rows at a time, and taken up before and in the middle of the output matrix.
        Run(method, target, slices, 1, null, overrides: [new("output.weight", target)], sliceValues: 1);
        Assert.Equal(File.ReadAllBytes(whole), File.ReadAllBytes(slices));
        foreach (string tensor in (string[])["blk.1.ffn_up.weight", "output.weight"])
            Assert.ThrowsAny<OperationCanceledException>(() => Run(method, target, stopped, long.MaxValue, tensor, overrides: [new("output.weight", target)]));
        QuantizationResult resumed = Run(method, target, stopped, long.MaxValue, null, overrides: [new("output.weight", target)]);
        Assert.Equal(resumed.Plan.Tensors.Length - 1, resumed.Resumed);
        Assert.Equal(File.ReadAllBytes(whole), File.ReadAllBytes(stopped));
    }

    [Fact]
    public void Another_text_takes_nothing_up()
    {
        string path = _folder.File("out.gguf");
        Assert.ThrowsAny<OperationCanceledException>(() => Run("gptq", "int4:g64", path, long.MaxValue, "blk.1.ffn_up.weight"));
        Assert.Equal(0, Run("gptq", "int4:g64", path, long.MaxValue, null, [[.. Enumerable.Range(50, 40)]]).Resumed);
    }

    [Fact]
    public void Other_columns_apart_take_nothing_up()
    {
        // As many columns, so that the description is the same.
        using GgufFile file = GgufFile.Open(Fixtures.Golden("architectures", "llama-dense.gguf"));
        QuantizationPlan plan = QuantizationPlan.Create(file, new PlanOptions { Target = TensorTarget.Find("llm.int8:t6") });
        string path = _folder.File("out.gguf");
        Assert.Throws<InvalidOperationException>(() => new ModelQuantizer(file, plan, null, null).Write(path, null, TestContext.Current.CancellationToken));
        Assert.ThrowsAny<OperationCanceledException>(() => Write(3, "blk.1.ffn_up.weight"));
        Assert.Equal(0, Write(4, null));
        Assert.ThrowsAny<OperationCanceledException>(() => Write(4, "blk.1.ffn_up.weight"));
        Assert.True(Write(4, null) > 10);

        int Write(int column, string? stopAt)
        {
            using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
            QuantizationPlan known = QuantizationPlan.Of(null, plan.Tensors.Select(tensor => tensor.SeeksOutliers ? tensor with { Outliers = [column] } : tensor));
            return new ModelQuantizer(file, known, null, null).Write(path, new Told(progress =>
            {
                if (progress.Tensor == stopAt) stop.Cancel();
            }), stop.Token).Resumed;
        }
    }

    [Fact]
    public void A_plan_that_needs_activations_is_refused_without_them()
    {
        using GgufFile file = GgufFile.Open(Fixtures.Golden("architectures", "llama-dense.gguf"));
        QuantizationPlan plan = QuantizationPlan.Create(file, new PlanOptions { Target = TensorTarget.Find("int4:g64"), Method = new GptqRounding() });
        Assert.Equal(StatisticKinds.Hessian, plan.Needs);
        Assert.Throws<InvalidOperationException>(() => new ModelQuantizer(file, plan, null, null).Write(_folder.File("out.gguf"), null, TestContext.Current.CancellationToken));
        Assert.Empty(Directory.GetFiles(_folder.Root));
    }

    [Fact]
    public void Experts_that_the_text_never_chose_are_rounded_to_nearest_and_told()
    {
        // One token, of which one of two experts reads.
        string path = _folder.File("out.gguf"), model = _folder.File("model.gguf");
        using (GgufFile file = GgufFile.Open(Fixtures.Golden("architectures", "llama-moe.gguf")))
            GgufWriter.From(file).Set("llama.expert_used_count", 1u).Write(model);
        QuantizationResult result = Run("gptq", "int4:g64", path, long.MaxValue, null, [[5]], model);
        Assert.All(result.Nearest, name => Assert.Contains("_exps", name, StringComparison.Ordinal));
        Assert.NotEmpty(result.Nearest);
    }

    // What errors of an output matrix cost on the text.
    private static double OutputLoss(IWeightSource made)
    {
        using LanguageModel model = LanguageModel.Load(GgufFile.Open(Fixtures.Golden("architectures", "llama-dense.gguf")), new RecordingBackend(new CpuBackend(new CpuOptions { Exact = true })));
        using CalibrationFeed feed = new(model, s_chunks, new CalibrationOptions { Kinds = StatisticKinds.Hessian, IncludesOutput = true }, null);
        LayerHessian hessian = LayerHessian.Of(feed.Layer(model.LayerCount, TestContext.Current.CancellationToken)!.Find("output.weight")!, 0);
        return hessian.Loss(RoundingTask.Values(model.File.Weights.Find("output.weight")!, 0), RoundingTask.Values(made, 0));
    }

    // Stops when the tensor is reached.
    private static QuantizationResult Run(string method, string target, string path, long memoryBytes, string? stopAt, List<int[]>? chunks = null, string? model = null,
        IReadOnlyList<KeyValuePair<string, string>>? overrides = null, int sliceValues = 1 << 26)
    {
        string source = model ?? Fixtures.Golden("architectures", "llama-dense.gguf");
        using GgufFile file = GgufFile.Open(source);
        using LanguageModel loaded = LanguageModel.Load(GgufFile.Open(source), new RecordingBackend(new CpuBackend(new CpuOptions { Exact = true })));
        QuantizationPlan plan = QuantizationPlan.Create(file, new PlanOptions { Target = TensorTarget.Find(target), Method = RoundingMethods.Find(method)!, Transform = RoundingMethods.FindTransform(method), Overrides = [.. (overrides ?? []).Select(one => (new Regex(one.Key), TensorTarget.Find(one.Value)!))] });
        if (plan.SeeksOutliers)
        {
            using CalibrationFeed first = new(loaded, chunks ?? s_chunks, new CalibrationOptions { Kinds = OutlierSearch.Needs, MemoryBytes = memoryBytes }, null);
            plan = OutlierSearch.Run(plan, first, TestContext.Current.CancellationToken).Plan;
        }

        using CalibrationFeed feed = new(loaded, chunks ?? s_chunks, new CalibrationOptions { Kinds = plan.Needs ?? StatisticKinds.Columns, IncludesOutput = plan.NeedsOutput, MemoryBytes = memoryBytes }, null);
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        return new ModelQuantizer(file, plan, null, null) { Statistics = feed, SliceValues = sliceValues }.Write(path, new Told(progress =>
        {
            if (progress.Tensor == stopAt) stop.Cancel();
        }), stop.Token);
    }

    private sealed class Told(Action<QuantizationProgress> told) : IProgress<QuantizationProgress>
    {
        public void Report(QuantizationProgress value) => told(value);
    }
}
