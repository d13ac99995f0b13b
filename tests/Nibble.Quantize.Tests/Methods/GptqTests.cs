using Nibble.Quantize.Calibration;
using Nibble.Quantize.Methods;
using Nibble.Testing;

namespace Nibble.Quantize.Tests.Methods;

public sealed class GptqTests
{
    private const int Rows = 24;
    private const int Columns = 256;

    private static readonly LayerHessian s_hessian = new(MethodData.Hessian(Columns, 11), Columns);
    private static readonly float[] s_weights = MethodData.Weights(Rows, Columns, 12);

    public static TheoryData<int, int, bool> Integers => new() { { 4, 64, false }, { 4, 128, true }, { 3, 32, false }, { 8, 256, true } };

    [Theory]
    [MemberData(nameof(Integers))]
    public void Loss_is_below_two_thirds_of_nearest_rounding_and_values_are_those_of_the_codes(int bits, int group, bool symmetric)
    {
        IntegerGrid Grid() => new(Rows, Columns, bits, group, symmetric);
        double nearest = s_hessian.Loss(s_weights, MethodData.Nearest(s_weights, s_hessian, Grid()));
        IntegerGrid grid = Grid(), refined = Grid();
        float[] solved = Gptq.Quantize(s_weights, s_hessian, grid, 0), better = Gptq.Quantize(s_weights, s_hessian, refined);
        double plain = s_hessian.Loss(s_weights, solved);
        Assert.True(plain < nearest * 2 / 3, $"{plain} against {nearest}");
        Assert.InRange(s_hessian.Loss(s_weights, better), plain / 3, plain * 0.97);
        Check(grid, solved);
        Check(refined, better);
        Assert.Equal(better, Gptq.Quantize(s_weights, s_hessian, Grid(), options: new ParallelOptions { MaxDegreeOfParallelism = 1 }));

        void Check(IntegerGrid made, float[] values)
        {
            for (int i = 0; i < values.Length; i++)
                Assert.Equal(made.Scales[i / group] * (made.Codes[i] - made.Zeros[i / group]), values[i]);
            Assert.True(made.Codes.Max() < 1 << bits);
            Assert.All(made.Scales, scale => Assert.True(scale > 0 && (float)(Half)scale == scale));
            if (symmetric) Assert.All(made.Zeros, zero => Assert.Equal(1 << (bits - 1), zero));
        }
    }

    [Fact]
    public void A_table_of_numbers_is_rounded_to_as_well()
    {
        float[][] tables = [EncodedSamples.Nf4, EncodedSamples.Fp4];
        foreach (float[] table in tables)
        {
            TableGrid nearest = new(Rows, Columns, table, 64, halfScales: false), grid = new(Rows, Columns, table, 64, halfScales: true);
            double loss = s_hessian.Loss(s_weights, MethodData.Nearest(s_weights, s_hessian, nearest));
            float[] solved = Gptq.Quantize(s_weights, s_hessian, grid);
            Assert.True(s_hessian.Loss(s_weights, solved) < loss * 0.6);
            byte[] codes = grid.TableCodes();
            for (int i = 0; i < solved.Length; i++)
                Assert.Equal(table[codes[i]] * grid.Scales[i / 64], solved[i]);
            Assert.All(grid.Scales, scale => Assert.True(scale > 0 && (float)(Half)scale == scale));
        }
    }

    [Fact]
    public void Scales_that_are_given_stay()
    {
        TableGrid grid = new(Rows, Columns, EncodedSamples.Nf4, 64, halfScales: false), fitted = new(Rows, Columns, EncodedSamples.Nf4, 64, halfScales: false);
        fitted.Fit(s_weights, s_hessian.Importance);
        float[] scales = [.. fitted.Scales.Select((scale, i) => i == 3 ? 0 : scale * (1 + (0.02f * (i % 3))))];
        grid.Fix(scales);
        float[] solved = Gptq.Quantize(s_weights, s_hessian, grid);
        Assert.Equal(scales, grid.Scales);
        Assert.Equal(MethodData.Values(grid), solved);
        Assert.All(solved.Skip(3 * 64).Take(64), value => Assert.Equal(0, value));
        Assert.True(s_hessian.Loss(s_weights, solved) < s_hessian.Loss(s_weights, Gptq.Quantize(s_weights, s_hessian, grid, 0)));
        Assert.Contains("for 96 blocks", Assert.Throws<ArgumentException>(() => grid.Fix([1])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Refinement_never_raises_the_loss_and_more_rounds_lower_it()
    {
        double last = double.PositiveInfinity;
        foreach (int rounds in (int[])[0, 1, 2, 6])
        {
            double loss = s_hessian.Loss(s_weights, Gptq.Quantize(s_weights, s_hessian, new IntegerGrid(Rows, Columns, 3, 64, false), rounds));
            Assert.True(loss < last, $"{loss} after {rounds} rounds, {last} before");
            last = loss;
        }
    }

    [Fact]
    public void Columns_that_do_not_depend_on_each_other_are_rounded_to_the_nearest()
    {
        float[] diagonal = new float[Columns * Columns];
        for (int i = 0; i < Columns; i++)
            diagonal[i * (Columns + 1)] = 1;
        IntegerGrid grid = new(Rows, Columns, 4, 64, false);
        float[] solved = Gptq.Quantize(s_weights, new LayerHessian(diagonal, Columns), grid, 0);
        for (int i = 0; i < s_weights.Length; i++)
            Assert.Equal(grid.Round(i / Columns, i % Columns, s_weights[i]), solved[i]);
    }

    [Fact]
    public void Columns_that_no_input_reaches_are_rounded_like_others()
    {
        float[] values = [.. s_hessian.Values];
        for (int i = 0; i < Columns; i++)
            for (int dead = 64; dead < 130; dead++)
                (values[(i * Columns) + dead], values[(dead * Columns) + i]) = (0, 0);
        float[] solved = Gptq.Quantize(s_weights, new LayerHessian(values, Columns), new IntegerGrid(Rows, Columns, 4, 32, false));
        for (int i = 0; i < solved.Length; i++)
            Assert.Equal(s_weights[i], solved[i], 0.05f);
    }

    /// <summary>The last part of rows, of columns and of errors that are handed on together is shorter than the others, or all there is.</summary>
    [Theory]
    [InlineData(1, 1, 1)]
    [InlineData(1, 40, 8)]
    [InlineData(17, 130, 65)]
    [InlineData(3, 257, 257)]
    [InlineData(5, 384, 96)]
    public void Odd_shapes_are_rounded_like_others(int rows, int columns, int group)
    {
        float[] weights = MethodData.Weights(rows, columns, 2);
        LayerHessian hessian = new(MethodData.Hessian(columns, 3), columns);
        IntegerGrid nearestGrid = new(rows, columns, 4, group, false), grid = new(rows, columns, 4, group, false), refinedGrid = new(rows, columns, 4, group, false);
        double nearest = hessian.Loss(weights, MethodData.Nearest(weights, hessian, nearestGrid));
        float[] solved = Gptq.Quantize(weights, hessian, grid, 0), refined = Gptq.Quantize(weights, hessian, refinedGrid);
        Assert.Equal(MethodData.Values(grid), solved);
        Assert.Equal(MethodData.Values(refinedGrid), refined);
        Assert.True(hessian.Loss(weights, solved) <= nearest * 1.001);
        Assert.True(hessian.Loss(weights, refined) <= hessian.Loss(weights, solved) * 1.001);
    }

    [Fact]
    public void A_matrix_that_is_definite_only_with_much_damping_is_refined_with_as_much()
    {
        LayerHessian hessian = new([1, 2, 2, 1], 2);
        IntegerGrid grid = new(3, 2, 4, 2, false);
        float[] weights = [0.3f, -0.2f, 0.05f, 0.4f, -0.1f, -0.35f], solved = Gptq.Quantize(weights, hessian, grid);
        Assert.Equal(MethodData.Values(grid), solved);
        Assert.Contains("more text", Assert.Throws<HessianException>(() => Gptq.Quantize(weights, new LayerHessian([1, 1e6f, 1e6f, 1], 2), new IntegerGrid(3, 2, 4, 2, false))).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("gptq")]
    [InlineData("gptq:act-order")]
    [InlineData("gptq:act-order:refine=4:damp=0.05")]
    [InlineData("hqq")]
    [InlineData("hqq:round-zero")]
    public void A_method_is_read_back_from_its_name(string name) => Assert.Equal(name, RoundingMethods.Find(name)!.Name);

    [Theory]
    [InlineData("gptq:act-order:act-order")]
    [InlineData("gptq:refine=4:refine=2")]
    [InlineData("gptq:refine=101")]
    [InlineData("gptq:refine=-1")]
    [InlineData("gptq:damp=0.1:damp=0.2")]
    [InlineData("gptq:damp=NaN")]
    [InlineData("gptq:damp=2")]
    [InlineData("gptq:")]
    [InlineData("awq:refine=4")]
    [InlineData("hqq:g64")]
    [InlineData("rtn:worst")]
    [InlineData("best")]
    public void What_names_no_method_is_none(string name) => Assert.Null(RoundingMethods.Find(name));

    [Theory]
    [InlineData("int8:tensor")]
    [InlineData("int4:g64:float")]
    [InlineData("MXFP4")]
    [InlineData("llm.int8")]
    public void A_target_that_it_does_not_make_is_named_whatever_the_Hessian_is_from(string name)
    {
        TensorTarget target = TensorTarget.Find(name)!;
        RoundingTask task = RoundingTask.Of(new FloatMatrix("w.weight", s_weights, Rows, Columns), 0, target);
        Assert.Contains($"'w.weight' is to become {name}, which gptq does not make", Assert.Throws<ArgumentException>(() => new GptqRounding().Round(task, s_hessian, TestContext.Current.CancellationToken)).Message, StringComparison.Ordinal);
        Assert.Contains("which gptq does not make", Assert.ThrowsAny<ArgumentException>(() => new GptqRounding().Round(Task(ActivationData.Of("w.weight", s_hessian.Values, Columns)), TestContext.Current.CancellationToken)).Message, StringComparison.Ordinal);

        RoundingTask Task(ActivationStatistics statistics) => RoundingTask.Of(new FloatMatrix("w.weight", s_weights, Rows, Columns), 0, target, statistics: statistics);
    }

    [Fact]
    public void What_does_not_fit_is_named()
    {
        Assert.Contains("use 32 or 64 or 576", Assert.Throws<ArgumentException>(() => new IntegerGrid(1, 576, 4, 128, false)).Message, StringComparison.Ordinal);
        Assert.Contains("use 32 or 96", Assert.Throws<ArgumentException>(() => new TableGrid(1, 96, EncodedSamples.Nf4, 64, false)).Message, StringComparison.Ordinal);
        Assert.Contains("not 9", Assert.Throws<ArgumentException>(() => new IntegerGrid(1, 64, 9, 64, false)).Message, StringComparison.Ordinal);
        LayerHessian two = new([1, 0, 0, 1], 2);
        Assert.Contains("row 1, column 0", Assert.Throws<ArgumentException>(() => Gptq.Quantize([1, 2, float.NaN, 3], two, new IntegerGrid(2, 2, 4, 2, false))).Message, StringComparison.Ordinal);
        Assert.Contains("whole rows", Assert.Throws<ArgumentException>(() => Gptq.Quantize([1, 2, 3], two, new IntegerGrid(2, 2, 4, 2, false))).Message, StringComparison.Ordinal);
        Assert.Contains("2 x 2", Assert.Throws<ArgumentException>(() => Gptq.Quantize([1, 2], two, new IntegerGrid(2, 2, 4, 2, false))).Message, StringComparison.Ordinal);
        Assert.Contains("needs 4 values", Assert.Throws<ArgumentException>(() => new LayerHessian(new float[3], 2)).Message, StringComparison.Ordinal);
    }
}
