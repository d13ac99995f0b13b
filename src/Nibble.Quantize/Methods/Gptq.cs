using System.Globalization;

namespace Nibble.Quantize.Methods;

/// <summary>GPTQ (Frantar et al. 2022): columns are rounded one after the other, and what each loses is made up for by those not yet rounded.</summary>
public static class Gptq
{
    // Columns whose errors reach the rest of a row in one go.
    private const int Batch = 128;
    private const int RowsAtOnce = 16;

    /// <summary>Fits a grid to a matrix, with an error in column j weighing 1/U²ⱼⱼ, then rounds with error feedback: q = grid(w), e = (w − q)/Uⱼⱼ, and e·Uⱼₖ is taken from every later column k; then refines.</summary>
    /// <param name="weights">[rows x columns], finite.</param>
    /// <param name="hessian">What errors cost, of as many columns.</param>
    /// <param name="grid">The grid, for a matrix of this shape; its parameters and codes are set.</param>
    /// <param name="refineRounds">Rounds of <see cref="Refinement"/>; 4 are usual, 0 is plain GPTQ.</param>
    /// <param name="options">How many threads, and what stops it; null for those of <see cref="Work.Threads"/>.</param>
    /// <returns>[rows x columns], the values of the codes.</returns>
    /// <exception cref="ArgumentException">The weights are not the grid's, or one is no finite number.</exception>
    /// <exception cref="HessianException">The Hessian cannot be used.</exception>
    /// <exception cref="OperationCanceledException">It was stopped.</exception>
    public static float[] Quantize(float[] weights, LayerHessian hessian, RoundingGrid grid, int refineRounds = 4, ParallelOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(weights);
        ArgumentNullException.ThrowIfNull(hessian);
        ArgumentNullException.ThrowIfNull(grid);
        ArgumentOutOfRangeException.ThrowIfNegative(refineRounds);
        int columns = hessian.Columns;
        if (weights.Length == 0 || weights.Length % columns != 0)
            throw new ArgumentException($"{weights.Length} weights are not whole rows of the Hessian's {columns} columns.", nameof(weights));
        if (grid.Columns != columns)
            throw new ArgumentException($"The grid has {grid.Columns} columns and the Hessian {columns}.", nameof(grid));
        grid.CheckLength(weights);
        for (int i = 0; i < weights.Length; i++)
            if (!float.IsFinite(weights[i]))
                throw new ArgumentException($"The weight in row {i / columns}, column {i % columns} is {weights[i].ToString(CultureInfo.InvariantCulture)}; weights must be finite.", nameof(weights));
        int[] order = [.. hessian.Order];
        float[] upper = hessian.Upper, importance = hessian.Importance, result = new float[weights.Length];
        int parts = (grid.Rows + RowsAtOnce - 1) / RowsAtOnce;
        if (refineRounds > 0) Refinement.Prepare(hessian, grid.Shape);
        Work.For(parts, options, () => new Worker(grid, order, upper, refineRounds > 0 ? new Refinement(hessian, grid, RowsAtOnce) : null), (part, worker) =>
        {
            int first = part * RowsAtOnce, end = Math.Min(grid.Rows, first + RowsAtOnce);
            for (int row = first; row < end; row++)
                grid.FitRow(row, weights.AsSpan(row * columns, columns), importance);
            worker.Round(weights, first, end, result);
            worker.Refinement?.Run(first, end, weights, result, refineRounds);
        });
        return result;
    }

    /// <summary>What a thread needs.</summary>
    private sealed class Worker(RoundingGrid grid, int[] order, float[] upper, Refinement? refinement)
    {
        private readonly float[] _work = new float[RowsAtOnce * order.Length], _errors = new float[RowsAtOnce * Batch];

        public Refinement? Refinement => refinement;

        public void Round(float[] weights, int first, int end, float[] result)
        {
            int columns = order.Length;
            for (int row = first; row < end; row++)
                for (int place = 0; place < columns; place++)
                    _work[((row - first) * columns) + place] = weights[(row * columns) + order[place]];
            for (int start = 0; start < columns; start += Batch)
            {
                int stop = Math.Min(columns, start + Batch);
                for (int row = first; row < end; row++)
                {
                    Span<float> w = _work.AsSpan((row - first) * columns, columns);
                    for (int place = start; place < stop; place++)
                    {
                        float value = grid.Round(row, order[place], w[place]);
                        result[(row * columns) + order[place]] = value;
                        float error = (w[place] - value) / upper[(place * columns) + place];
                        _errors[((row - first) * Batch) + place - start] = -error;
                        Span<float> rest = w[(place + 1)..stop];
                        Rows.Add<float>(upper.AsSpan((place * columns) + place + 1, rest.Length), -error, rest);
                    }
                }

                if (stop < columns)
                    RowBatch.Add(_errors, Batch, stop - start, upper.AsSpan((start * columns) + stop), columns, _work.AsSpan(stop), columns, end - first, columns - stop);
            }
        }
    }
}
