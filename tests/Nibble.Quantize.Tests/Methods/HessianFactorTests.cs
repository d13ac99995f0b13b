using Nibble.Quantize.Methods;

namespace Nibble.Quantize.Tests.Methods;

public sealed class HessianFactorTests
{
    [Theory]
    [InlineData(1, false)]
    [InlineData(7, true)]
    [InlineData(130, true)]
    public void Upper_factor_times_itself_is_the_inverse_of_the_damped_matrix(int size, bool sort)
    {
        float[] hessian = Hessian(size, 2 * size);
        HessianFactor factor = HessianFactor.Create(hessian, size, 0.01, sort);
        double mean = Enumerable.Range(0, size).Average(i => (double)hessian[(i * size) + i]);
        double[,] product = new double[size, size];
        for (int row = 0; row < size; row++)
            for (int i = 0; i < size; i++)
                for (int j = 0; j < size; j++)
                    product[i, j] += factor.Row(row)[i] * factor.Row(row)[j];
        for (int i = 0; i < size; i++)
        {
            Assert.True(factor.Row(i)[i] > 0);
            Assert.True(factor.Row(i)[..i].IndexOfAnyExcept(0.0) < 0);
            if (sort && i > 0)
                Assert.True(hessian[factor.Order[i - 1] * (size + 1)] >= hessian[factor.Order[i] * (size + 1)]);
            for (int j = 0; j < size; j++)
            {
                double identity = 0;
                for (int k = 0; k < size; k++)
                    identity += (hessian[(factor.Order[i] * size) + factor.Order[k]] + (i == k ? 0.01 * mean : 0)) * product[k, j];
                Assert.Equal(i == j ? 1 : 0, identity, 1e-8);
            }
        }
    }

    [Fact]
    public void A_matrix_that_is_not_definite_is_damped_until_it_is()
    {
        HessianFactor factor = HessianFactor.Create([1, 1.05f, 1.05f, 1], 2, 0.01, sort: false);
        Assert.Equal(0.1, factor.Damp, 1e-12);
        Assert.Equal(1e-4, HessianFactor.Create([1, 1, 1, 1], 2, 0, sort: false).Damp, 1e-12);
    }

    [Fact]
    public void What_cannot_be_used_is_named()
    {
        Assert.Contains("row 1, column 0", Assert.Throws<HessianException>(() => HessianFactor.Create([1, 0, float.NaN, 1], 2, 0.01, true)).Message, StringComparison.Ordinal);
        Assert.Contains("-2 in column 1", Assert.Throws<HessianException>(() => HessianFactor.Create([1, 0, 0, -2], 2, 0.01, true)).Message, StringComparison.Ordinal);
        Assert.Contains("no input", Assert.Throws<HessianException>(() => HessianFactor.Create(new float[4], 2, 0.01, true)).Message, StringComparison.Ordinal);
        Assert.Contains("more text", Assert.Throws<HessianException>(() => HessianFactor.Create([1, 1e6f, 1e6f, 1], 2, 0.01, true)).Message, StringComparison.Ordinal);
        Assert.Contains("needs 4 values", Assert.Throws<ArgumentException>(() => HessianFactor.Create(new float[3], 2, 0.01, true)).Message, StringComparison.Ordinal);
        Assert.Contains("has 40000 columns; errors are made up for in at most 32768", Assert.Throws<HessianException>(() => HessianFactor.Create([], 40000, 0.01, true)).Message, StringComparison.Ordinal);
        Assert.Contains("The damping is -1", Assert.Throws<ArgumentException>(() => HessianFactor.Create(new float[4], 2, -1, true)).Message, StringComparison.Ordinal);
    }

    private static float[] Hessian(int size, int samples)
    {
        Random random = new(5);
        float[] sums = new float[size * size];
        for (int sample = 0; sample < samples; sample++)
        {
            float[] x = [.. Enumerable.Range(0, size).Select(i => (random.NextSingle() - 0.4f) * (1 + (i % 5)))];
            for (int i = 0; i < size; i++)
                for (int j = 0; j < size; j++)
                    sums[(i * size) + j] += x[i] * x[j];
        }

        return sums;
    }
}
