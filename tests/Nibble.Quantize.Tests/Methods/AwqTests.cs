using System.Text.RegularExpressions;
using Nibble.Core.Encodings;
using Nibble.Core.Gguf;
using Nibble.Cpu;
using Nibble.Llm.Models;
using Nibble.Quantize.Calibration;
using Nibble.Quantize.Methods;
using Nibble.Quantize.Quantization;

namespace Nibble.Quantize.Tests.Methods;

/// <summary>Clipping of AWQ's groups.</summary>
public sealed class AwqTests
{
    private const int Rows = 6, Columns = 64;

    [Theory]
    [InlineData("int4:g32")]
    [InlineData("int4:row:asym")]
    [InlineData("int3:g64")]
    public void Clipped_groups_cost_no_more_than_nearest_ones_and_queries_are_not_clipped(string name)
    {
        TensorTarget target = TensorTarget.Find(name)!;
        float[] weights = MethodData.Weights(Rows, Columns, 4), hessian = BlockDiagonal(MethodData.Hessian(Columns, 5), ((GroupTarget)target).GroupOf(Columns));
        for (int row = 0; row < Rows; row++) weights[(row * Columns) + (11 * row)] = 0.5f;
        LayerHessian cost = new(hessian, Columns);
        float[] nearest = Rounded(new RoundToNearest(), "blk.0.ffn_up.weight"), clipped = Rounded(new AwqRounding(), "blk.0.ffn_up.weight");
        Assert.True(cost.Loss(weights, clipped) < cost.Loss(weights, nearest));
        Assert.Equal(nearest, Rounded(new AwqRounding(), "blk.0.attn_q.weight"));

        float[] Rounded(RoundingMethod method, string tensor)
        {
            using ActivationStatistics statistics = ActivationData.Of(tensor, hessian, Columns);
            RoundingTask task = RoundingTask.Of(new FloatMatrix(tensor, weights, Rows, Columns), 0, target, statistics: statistics);
            return target.Decode(method.Round(task, TestContext.Current.CancellationToken), task);
        }
    }

    [Fact]
    public void A_Hessian_that_is_no_number_is_refused_by_its_place()
    {
        float[] hessian = MethodData.Hessian(Columns, 5);
        hessian[(40 * Columns) + 37] = float.NaN;
        using ActivationStatistics statistics = ActivationData.Of("w.weight", hessian, Columns);
        RoundingTask task = RoundingTask.Of(new FloatMatrix("w.weight", MethodData.Weights(Rows, Columns, 4), Rows, Columns), 0, TensorTarget.Find("int4:g32")!, statistics: statistics);
        foreach (RoundingMethod method in (RoundingMethod[])[new AwqRounding(), new GptqRounding()])
            Assert.Contains("holds NaN in row 40, column 37", Assert.Throws<HessianException>(() => method.Round(task, TestContext.Current.CancellationToken)).Message, StringComparison.Ordinal);
        Assert.Contains("holds NaN in row 40, column 37", Assert.Throws<HessianException>(() => LayerHessian.Of(statistics, 0)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Columns_that_no_input_reaches_are_not_clipped()
    {
        float[] weights = MethodData.Weights(Rows, Columns, 4), decoded;
        TensorTarget target = TensorTarget.Find("int4:g32:asym")!;
        using ActivationStatistics statistics = ActivationData.Of("w.weight", new float[Columns * Columns], Columns);
        RoundingTask task = RoundingTask.Of(new FloatMatrix("w.weight", weights, Rows, Columns), 0, target, statistics: statistics);
        decoded = target.Decode(new AwqRounding().Round(task, TestContext.Current.CancellationToken), task);
        Assert.Equal(target.Decode(new RoundToNearest().Round(task, TestContext.Current.CancellationToken), task), decoded);
    }

    [Theory]
    [InlineData("int4:tensor")]
    [InlineData("int4:g32:float")]
    [InlineData("Q4_0")]
    public void A_target_that_it_does_not_make_is_named(string name)
    {
        RoundingTask task = RoundingTask.Of(new FloatMatrix("w.weight", MethodData.Weights(Rows, Columns, 4), Rows, Columns), 0, TensorTarget.Find(name)!);
        Assert.Contains($"'w.weight' is to become {name}, which awq does not make", Assert.Throws<ArgumentException>(() => new AwqRounding().Round(task, TestContext.Current.CancellationToken)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Importances_and_divisors_of_another_length_are_refused()
    {
        FloatMatrix two = new("w.weight", MethodData.Weights(2 * Rows, Columns, 4), Rows, Columns);
        TensorTarget target = TensorTarget.Find("int4:g32")!;
        Assert.Equal(2, two.Matrices);
        Assert.Equal(7, RoundingTask.Of(two, 1, target, importance: [.. Enumerable.Range(0, 2 * Columns).Select(i => i == Columns ? 7f : 1)]).Importance![0]);
        Assert.Contains("65 importances were given for 'w.weight'; 64 columns and 2 matrices need 64 or 128", Assert.Throws<ArgumentException>(() => RoundingTask.Of(two, 1, target, importance: new float[65])).Message, StringComparison.Ordinal);
        Assert.Contains("3 divisors were given for the 64 columns of 'w.weight'", Assert.Throws<ArgumentException>(() => RoundingTask.Of(two, 1, target, inputDivisors: new float[3])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Factors_are_found_for_targets_whose_zeros_are_fractions_too()
    {
        using TempFolder folder = new();
        string path = Fixtures.Golden("architectures", "llama-dense.gguf");
        using GgufFile file = GgufFile.Open(path);
        PlanOptions options = new()
        {
            Target = TensorTarget.Find("int4:row")!,
            Method = new AwqRounding(),
            Transform = new AwqScaling(),
            Overrides = [(new Regex("ffn_up"), TensorTarget.Find("int4:row:float")!)],
        };
        QuantizationPlan plan = QuantizationPlan.Create(file, options);
        using LanguageModel model = LanguageModel.Load(GgufFile.Open(path), new RecordingBackend(new CpuBackend(new CpuOptions { Exact = true })));
        using CalibrationFeed feed = new(model, [[.. Enumerable.Range(3, 60)]], new CalibrationOptions { Kinds = plan.Needs!.Value }, null);
        new ModelQuantizer(file, plan, null, null) { Statistics = feed }.Write(folder.File("out.gguf"), null, TestContext.Current.CancellationToken);
        using GgufFile made = GgufFile.Open(folder.File("out.gguf"));
        Assert.All(made.Weights.Encoded, tensor => Assert.Equal(tensor.Name.Contains("ffn_up", StringComparison.Ordinal), ((GroupEncoding)tensor.Encoding).ZeroFormat is not null));
        Assert.Contains(made.Weights.Encoded, tensor => tensor.Name.Contains("ffn_up", StringComparison.Ordinal));
    }

    // What groups cost by themselves.
    private static float[] BlockDiagonal(float[] hessian, int group)
    {
        for (int i = 0; i < hessian.Length; i++)
            if (i / Columns / group != i % Columns / group) hessian[i] = 0;
        return hessian;
    }
}
