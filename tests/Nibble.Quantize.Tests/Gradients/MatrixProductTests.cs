using Nibble.Quantize.Gradients;

namespace Nibble.Quantize.Tests.Gradients;

/// <summary>Products against sums in double precision.</summary>
public sealed unsafe class MatrixProductTests
{
    [Theory]
    [InlineData(1, 1, 1)]
    [InlineData(8, 32, 7)]
    [InlineData(19, 70, 65)]
    [InlineData(24, 33, 700)]
    public void Products_are_the_sums_whatever_the_order_of_either_matrix(int rows, int columns, int depth)
    {
        float[] a = Random(rows * depth, 1), b = Random(depth * columns, 2), start = Random(rows * columns, 3);
        float[] aAcross = Across(a, rows, depth), bAcross = Across(b, depth, columns), panels = new float[MatrixProduct.PanelFloats(depth, columns)], c = new float[rows * columns];
        foreach ((bool aTurned, bool bTurned, bool add) in (ReadOnlySpan<(bool, bool, bool)>)[(false, false, false), (true, false, true), (false, true, true), (true, true, false)])
        {
            start.CopyTo(c, 0);
            fixed (float* left = aTurned ? aAcross : a, right = bTurned ? bAcross : b, packed = panels, sums = c)
            {
                MatrixProduct.Pack(right, bTurned ? 1 : columns, bTurned ? depth : 1, depth, columns, packed);
                MatrixProduct.Multiply(left, aTurned ? 1 : depth, aTurned ? rows : 1, rows, packed, depth, depth, columns, sums, columns, add);
            }

            for (int i = 0; i < rows; i++)
            {
                for (int j = 0; j < columns; j++)
                {
                    double sum = add ? start[(i * columns) + j] : 0, size = Math.Abs(sum);
                    for (int k = 0; k < depth; k++)
                    {
                        double product = (double)a[(i * depth) + k] * b[(k * columns) + j];
                        sum += product;
                        size += Math.Abs(product);
                    }

                    Assert.Equal(sum, c[(i * columns) + j], 1e-6 * size);
                }
            }
        }
    }

    [Fact]
    public void A_part_of_the_depth_and_columns_is_that_part_of_the_product()
    {
        const int Rows = 11, Depth = 90, Columns = 100, FirstDepth = 32, FirstColumn = 64;
        float[] a = Random(Rows * Depth, 1), b = Random(Depth * Columns, 2), panels = new float[MatrixProduct.PanelFloats(Depth, Columns)], c = new float[Rows * Columns];
        fixed (float* left = a, right = b, packed = panels, sums = c)
        {
            MatrixProduct.Pack(right, Columns, 1, Depth, Columns, packed);
            MatrixProduct.Multiply(
                left + FirstDepth, Depth, 1, Rows, packed + (FirstColumn * Depth) + (FirstDepth * MatrixProduct.PanelColumns), Depth, Depth - FirstDepth, Columns - FirstColumn, sums + FirstColumn, Columns, add: false);
        }

        for (int i = 0; i < Rows; i++)
            for (int j = 0; j < Columns; j++)
                Assert.Equal(j < FirstColumn ? 0 : Enumerable.Range(FirstDepth, Depth - FirstDepth).Sum(k => (double)a[(i * Depth) + k] * b[(k * Columns) + j]), c[(i * Columns) + j], 1e-5);
    }

    private static float[] Random(int count, int seed)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (random.NextSingle() * 2) - 1)];
    }

    private static float[] Across(float[] values, int rows, int columns) => [.. Enumerable.Range(0, values.Length).Select(i => values[(i % rows * columns) + (i / rows)])];
}
