using Nibble.Core.Memory;

namespace Nibble.Quantize.Calibration;

/// <summary>What is collected of activations.</summary>
[Flags]
public enum StatisticKinds
{
    /// <summary>For each column: sums of x² and |x|, lowest and highest value. Always collected.</summary>
    Columns = 0,

    /// <summary>The sum of x xᵀ, [columns x columns].</summary>
    Hessian = 1,

    /// <summary>A histogram of |x| over all columns.</summary>
    Histogram = 2,

    /// <summary>A histogram of |x| for each column.</summary>
    ColumnHistograms = 4,
}

/// <summary>What a linear layer, or several that read the same, were multiplied with on a calibration text.</summary>
public sealed unsafe class ActivationStatistics : IDisposable
{
    private readonly NativeBuffer? _hessian;

    internal ActivationStatistics(
        IReadOnlyList<string> weights, int columns, long[] counts, float[] squareSums, float[] absSums, float[] lowest, float[] highest, NativeBuffer? hessian, AbsHistogram? histogram, ColumnHistograms? columnHistograms = null)
    {
        Weights = weights;
        Columns = columns;
        Counts = counts;
        SquareSums = squareSums;
        AbsSums = absSums;
        Lowest = lowest;
        Highest = highest;
        _hessian = hessian;
        Histogram = histogram;
        ColumnHistograms = columnHistograms;
    }

    /// <summary>Names of the weights that read these activations.</summary>
    public IReadOnlyList<string> Weights { get; }

    /// <summary>Columns: the weights' input dimension.</summary>
    public int Columns { get; }

    /// <summary>Matrices: 1, or a weight's experts.</summary>
    public int Matrices => Counts.Count;

    /// <summary>[matrices] rows x that each matrix was multiplied with.</summary>
    public IReadOnlyList<long> Counts { get; }

    /// <summary>[matrices x columns] sums of x².</summary>
    public float[] SquareSums { get; }

    /// <summary>[matrices x columns] sums of |x|.</summary>
    public float[] AbsSums { get; }

    /// <summary>[matrices x columns] lowest values; 0 where there was none.</summary>
    public float[] Lowest { get; }

    /// <summary>[matrices x columns] highest values; 0 where there was none.</summary>
    public float[] Highest { get; }

    /// <summary>Magnitudes of all columns of all matrices, or null.</summary>
    public AbsHistogram? Histogram { get; }

    /// <summary>Magnitudes column by column, of all matrices together, or null.</summary>
    public ColumnHistograms? ColumnHistograms { get; }

    /// <summary>Whether <see cref="HessianRow"/> has values.</summary>
    public bool HasHessian => _hessian is not null;

    /// <summary>A row of H = sum of x xᵀ, which is symmetric; not divided by the count, no factor of 2, no damping.</summary>
    /// <param name="matrix">0 to <see cref="Matrices"/> - 1.</param>
    /// <param name="row">0 to <see cref="Columns"/> - 1.</param>
    /// <returns>[columns].</returns>
    /// <exception cref="InvalidOperationException">No Hessian was collected.</exception>
    public ReadOnlySpan<float> HessianRow(int matrix, int row)
    {
        if (_hessian is null) throw new InvalidOperationException($"no Hessian was collected of '{Weights[0]}'; ask for {nameof(StatisticKinds)}.{nameof(StatisticKinds.Hessian)}.");
        if ((uint)matrix >= (uint)Matrices) throw new ArgumentOutOfRangeException(nameof(matrix), $"matrix is {matrix}; there are {Matrices}.");
        if ((uint)row >= (uint)Columns) throw new ArgumentOutOfRangeException(nameof(row), $"row is {row}; there are {Columns}.");
        return _hessian.Span<float>((((long)matrix * Columns) + row) * Columns, Columns);
    }

    /// <summary>Frees the Hessian.</summary>
    public void Dispose() => _hessian?.Dispose();
}

/// <summary>The statistics of one layer's inputs.</summary>
/// <param name="Layer">The layer; the number of layers for the output matrix behind them.</param>
/// <param name="Inputs">An element for each set of weights that read the same, in the order in which the layer reads them.</param>
public sealed record LayerStatistics(int Layer, IReadOnlyList<ActivationStatistics> Inputs) : IDisposable
{
    /// <summary>The statistics of what a weight reads, or null.</summary>
    /// <param name="weight">The weight's name.</param>
    public ActivationStatistics? Find(string weight) => Inputs.FirstOrDefault(input => input.Weights.Contains(weight));

    /// <summary>Frees the Hessians.</summary>
    public void Dispose()
    {
        foreach (ActivationStatistics input in Inputs)
            input.Dispose();
    }
}
