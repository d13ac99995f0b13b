using System.Globalization;

namespace Nibble.Quantize.Methods;

/// <summary>GPTQ (Frantar et al. 2022): columns are rounded one after the other, and what each loses is made up for by those not yet rounded.</summary>
public static class Gptq
{
    // Columns whose errors reach the rest of a row in one go.
    private const int Batch = 128;
    private const int RowsAtOnce = 4;

    /// <summary>Fits a grid to a matrix, with an error in column j weighing 1/U²ⱼⱼ, then rounds with error feedback: q = grid(w), e = (w − q)/Uⱼⱼ, and e·Uⱼₖ is taken from every later column k.</summary>
    /// <param name="weights">[rows x columns], finite.</param>
    /// <param name="factor">The Hessian's factor, of as many columns.</param>
    /// <param name="grid">The grid, for a matrix of this shape; its codes are set.</param>
    /// <returns>[rows x columns], the values of the codes.</returns>
    /// <exception cref="ArgumentException">The weights are not whole rows, or one is no finite number.</exception>
    public static float[] Quantize(float[] weights, HessianFactor factor, RoundingGrid grid)
    {
        ArgumentNullException.ThrowIfNull(weights);
        ArgumentNullException.ThrowIfNull(factor);
        ArgumentNullException.ThrowIfNull(grid);
        int columns = factor.Columns;
        if (weights.Length == 0 || weights.Length % columns != 0)
            throw new ArgumentException($"{weights.Length} weights are not whole rows of the Hessian's {columns} columns.", nameof(weights));
        for (int i = 0; i < weights.Length; i++)
            if (!float.IsFinite(weights[i]))
                throw new ArgumentException($"The weight in row {i / columns}, column {i % columns} is {weights[i].ToString(CultureInfo.InvariantCulture)}; weights must be finite.", nameof(weights));
        float[] upper = new float[columns * columns], importance = new float[columns];
        int[] order = [.. factor.Order];
        for (int place = 0; place < columns; place++)
        {
            ReadOnlySpan<double> row = factor.Row(place);
            for (int j = place; j < columns; j++)
                upper[(place * columns) + j] = (float)row[j];
            importance[order[place]] = (float)(1 / (row[place] * row[place]));
        }

        grid.Fit(weights, importance);
        int rows = weights.Length / columns;
        float[] result = new float[weights.Length];
        Parallel.For(0, (rows + RowsAtOnce - 1) / RowsAtOnce, part => Round(weights, upper, order, grid, part * RowsAtOnce, Math.Min(rows, (part + 1) * RowsAtOnce), result));
        return result;
    }

    private static void Round(float[] weights, float[] upper, int[] order, RoundingGrid grid, int first, int end, float[] result)
    {
        int columns = order.Length;
        float[] work = new float[(end - first) * columns], errors = new float[(end - first) * Batch];
        for (int row = first; row < end; row++)
            for (int place = 0; place < columns; place++)
                work[((row - first) * columns) + place] = weights[(row * columns) + order[place]];
        for (int start = 0; start < columns; start += Batch)
        {
            int stop = Math.Min(columns, start + Batch);
            for (int row = first; row < end; row++)
            {
                Span<float> w = work.AsSpan((row - first) * columns, columns);
                for (int place = start; place < stop; place++)
                {
                    float value = grid.Round(row, order[place], w[place]);
                    result[(row * columns) + order[place]] = value;
                    float error = (w[place] - value) / upper[(place * columns) + place];
                    errors[((row - first) * Batch) + place - start] = error;
                    Span<float> rest = w[(place + 1)..stop];
                    Rows.Add<float>(upper.AsSpan((place * columns) + place + 1, rest.Length), -error, rest);
                }
            }

            for (int place = start; place < stop; place++)
                for (int row = first; row < end; row++)
                {
                    Span<float> rest = work.AsSpan(((row - first) * columns) + stop, columns - stop);
                    Rows.Add<float>(upper.AsSpan((place * columns) + stop, rest.Length), -errors[((row - first) * Batch) + place - start], rest);
                }
        }
    }
}
