namespace Nibble.Quantize.Methods;

/// <summary>What many rows of errors cost, with H read once for several of them.</summary>
internal static class HessianCost
{
    private const int RowsAtOnce = 16;

    /// <summary>S δ H δᵀ over the rows δ.</summary>
    /// <param name="hessian">[columns x columns], symmetric.</param>
    /// <param name="columns">Columns.</param>
    /// <param name="errors">[rows x columns].</param>
    public static double Of(float[] hessian, int columns, float[] errors)
    {
        int rows = errors.Length / columns, parts = (rows + RowsAtOnce - 1) / RowsAtOnce;
        double[] costs = new double[parts];
        Work.For(parts, part =>
        {
            int first = part * RowsAtOnce, end = Math.Min(rows, first + RowsAtOnce);
            double sum = 0;
            for (int i = 0; i < columns; i++)
            {
                // The upper triangle counts twice.
                ReadOnlySpan<float> row = hessian.AsSpan((i * columns) + i + 1, columns - i - 1);
                float diagonal = hessian[(i * columns) + i];
                for (int r = first; r < end; r++)
                {
                    ReadOnlySpan<float> error = errors.AsSpan(r * columns, columns);
                    sum += (double)error[i] * ((diagonal * error[i]) + (2 * Rows.Dot(row, error[(i + 1)..])));
                }
            }

            costs[part] = sum;
        });
        return costs.Sum();
    }
}
