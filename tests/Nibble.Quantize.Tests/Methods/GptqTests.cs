using Nibble.Quantize.Methods;

namespace Nibble.Quantize.Tests.Methods;

public sealed class GptqTests
{
    private const int Rows = 24;
    private const int Columns = 256;

    [Theory]
    [InlineData(4, 64, false)]
    [InlineData(4, 128, true)]
    [InlineData(3, 32, false)]
    [InlineData(8, 256, true)]
    public void Loss_is_below_two_thirds_of_nearest_rounding_and_values_are_those_of_the_codes(int bits, int group, bool symmetric)
    {
        (float[] weights, float[] hessian) = Data();
        IntegerGrid nearest = new(Rows, Columns, bits, group, symmetric), grid = new(Rows, Columns, bits, group, symmetric);
        float[] importance = [.. Enumerable.Range(0, Columns).Select(i => hessian[i * (Columns + 1)])];
        nearest.Fit(weights, importance);
        float[] rounded = [.. weights.Select((value, i) => nearest.Round(i / Columns, i % Columns, value))];
        float[] solved = Gptq.Quantize(weights, HessianFactor.Create(hessian, Columns, 0.01, sort: true), grid);
        Assert.True(Loss(weights, solved, hessian) < Loss(weights, rounded, hessian) * 2 / 3);
        for (int i = 0; i < weights.Length; i++)
            Assert.Equal(grid.Scales[i / group] * (grid.Codes[i] - grid.Zeros[i / group]), solved[i]);
        Assert.True(grid.Codes.Max() < 1 << bits);
        Assert.Equal(solved, Gptq.Quantize(weights, HessianFactor.Create(hessian, Columns, 0.01, sort: true), new IntegerGrid(Rows, Columns, bits, group, symmetric)));
    }

    [Fact]
    public void Columns_that_do_not_depend_on_each_other_are_rounded_to_the_nearest()
    {
        (float[] weights, _) = Data();
        float[] diagonal = new float[Columns * Columns];
        for (int i = 0; i < Columns; i++)
            diagonal[i * (Columns + 1)] = 1;
        IntegerGrid grid = new(Rows, Columns, 4, 64, false);
        float[] solved = Gptq.Quantize(weights, HessianFactor.Create(diagonal, Columns, 0.01, sort: true), grid);
        for (int i = 0; i < weights.Length; i++)
            Assert.Equal(grid.Round(i / Columns, i % Columns, weights[i]), solved[i]);
    }

    [Fact]
    public void What_does_not_fit_is_named()
    {
        Assert.Contains("use 32 or 64 or 576", Assert.Throws<ArgumentException>(() => new IntegerGrid(1, 576, 4, 128, false)).Message, StringComparison.Ordinal);
        Assert.Contains("not 9", Assert.Throws<ArgumentException>(() => new IntegerGrid(1, 64, 9, 64, false)).Message, StringComparison.Ordinal);
        HessianFactor factor = HessianFactor.Create([1, 0, 0, 1], 2, 0.01, true);
        Assert.Contains("row 1, column 0", Assert.Throws<ArgumentException>(() => Gptq.Quantize([1, 2, float.NaN, 3], factor, new IntegerGrid(2, 2, 4, 2, false))).Message, StringComparison.Ordinal);
        Assert.Contains("whole rows", Assert.Throws<ArgumentException>(() => Gptq.Quantize([1, 2, 3], factor, new IntegerGrid(2, 2, 4, 2, false))).Message, StringComparison.Ordinal);
        Assert.Contains("2 x 2", Assert.Throws<ArgumentException>(() => Gptq.Quantize([1, 2], factor, new IntegerGrid(2, 2, 4, 2, false))).Message, StringComparison.Ordinal);
    }

    // Inputs that share a few directions, as activations do.
    private static (float[] Weights, float[] Hessian) Data()
    {
        Random random = new(11);
        float[] weights = [.. Enumerable.Range(0, Rows * Columns).Select(_ => (random.NextSingle() + random.NextSingle() + random.NextSingle() - 1.5f) * 0.1f)];
        float[] mix = [.. Enumerable.Range(0, 32 * Columns).Select(_ => random.NextSingle() - 0.5f)], hessian = new float[Columns * Columns];
        for (int sample = 0; sample < 512; sample++)
        {
            float[] hidden = [.. Enumerable.Range(0, 32).Select(_ => random.NextSingle() - 0.5f)], x = new float[Columns];
            for (int i = 0; i < Columns; i++)
            {
                x[i] = (random.NextSingle() - 0.5f) * 0.5f;
                for (int k = 0; k < 32; k++)
                    x[i] += hidden[k] * mix[(k * Columns) + i];
            }

            for (int i = 0; i < Columns; i++)
                for (int j = 0; j < Columns; j++)
                    hessian[(i * Columns) + j] += x[i] * x[j];
        }

        return (weights, hessian);
    }

    private static double Loss(float[] weights, float[] values, float[] hessian)
    {
        double loss = 0;
        for (int row = 0; row < Rows; row++)
            for (int i = 0; i < Columns; i++)
                for (int j = 0; j < Columns; j++)
                    loss += (double)(values[(row * Columns) + i] - weights[(row * Columns) + i]) * hessian[(i * Columns) + j] * (values[(row * Columns) + j] - weights[(row * Columns) + j]);
        return loss;
    }
}
