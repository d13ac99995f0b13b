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

    [Fact]
    public void Another_text_takes_nothing_up()
    {
        string path = _folder.File("out.gguf");
        Assert.ThrowsAny<OperationCanceledException>(() => Run("gptq", "int4:g64", path, long.MaxValue, "blk.1.ffn_up.weight"));
        Assert.Equal(0, Run("gptq", "int4:g64", path, long.MaxValue, null, [[.. Enumerable.Range(50, 40)]]).Resumed);
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

    // Stops when the tensor is reached.
    private static QuantizationResult Run(string method, string target, string path, long memoryBytes, string? stopAt, List<int[]>? chunks = null, string? model = null)
    {
        string source = model ?? Fixtures.Golden("architectures", "llama-dense.gguf");
        using GgufFile file = GgufFile.Open(source);
        using LanguageModel loaded = LanguageModel.Load(GgufFile.Open(source), new RecordingBackend(new CpuBackend(new CpuOptions { Exact = true })));
        QuantizationPlan plan = QuantizationPlan.Create(file, new PlanOptions { Target = TensorTarget.Find(target), Method = RoundingMethods.Find(method)!, Transform = RoundingMethods.FindTransform(method) });
        using CalibrationFeed feed = new(loaded, chunks ?? s_chunks, new CalibrationOptions { Kinds = plan.Needs!.Value, MemoryBytes = memoryBytes }, null);
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        return new ModelQuantizer(file, plan, null, null) { Statistics = feed }.Write(path, new Told(progress =>
        {
            if (progress.Tensor == stopAt) stop.Cancel();
        }), stop.Token);
    }

    private sealed class Told(Action<QuantizationProgress> told) : IProgress<QuantizationProgress>
    {
        public void Report(QuantizationProgress value) => told(value);
    }
}
