using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Tests.Calibration;

/// <summary>Sums of x xᵀ against plain loops, for sizes around those of its blocks and strips.</summary>
public unsafe class GramMatrixTests
{
    [Theory]
    [InlineData(1, 1)]
    [InlineData(7, 300)]
    [InlineData(64, 256)]
    [InlineData(65, 255)]
    [InlineData(200, 257)]
    public void Two_batches_of_rows_give_the_sums_of_plain_loops(int columns, int rows)
    {
        Random random = new(columns + rows);
        float[] x = [.. Enumerable.Range(0, rows * columns).Select(_ => (float)((random.NextDouble() * 2) - 1))];
        int first = rows / 3;
        using GramMatrix matrix = new(columns);
        using GuardedMemory<float> rowsBefore = new(x.AsSpan(0, first * columns)), rowsAfter = new(x.AsSpan(first * columns));
        matrix.Add(rowsBefore.Span, first);
        matrix.Add(rowsAfter.Span, rows - first);
        using GuardedMemory<float> memory = new(columns * columns);
        Span<float> sums = memory.Span;
        fixed (float* pointer = sums)
            matrix.CopyTo(pointer);
        for (int i = 0; i < columns; i++)
        {
            for (int j = 0; j < columns; j++)
            {
                double expected = 0;
                for (int row = 0; row < rows; row++)
                    expected += (double)x[(row * columns) + i] * x[(row * columns) + j];
                Assert.Equal(expected, sums[(i * columns) + j], 1e-6 * rows);
            }
        }
    }
}
