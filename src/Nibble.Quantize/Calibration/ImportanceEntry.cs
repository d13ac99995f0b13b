namespace Nibble.Quantize.Calibration;

/// <summary>What an <see cref="ImportanceMatrix"/> holds of one weight: sums of the squares of what the weight was multiplied with, column by column.</summary>
public sealed class ImportanceEntry
{
    private readonly float[] _squareSums;
    private readonly float[] _counts;

    /// <summary>Holds sums and counts; the arrays are not copied.</summary>
    /// <param name="name">The weight's name.</param>
    /// <param name="squareSums">[values] sums of x²: a value for each column, matrix after matrix where the weight holds experts.</param>
    /// <param name="counts">[parts] rows x that went into each equal part of the sums: one count for all, or one an expert.</param>
    /// <exception cref="ArgumentException">The sums cannot be cut into so many parts, or a number is negative, infinite or NaN.</exception>
    public ImportanceEntry(string name, float[] squareSums, float[] counts)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentNullException.ThrowIfNull(squareSums);
        ArgumentNullException.ThrowIfNull(counts);
        if (counts.Length == 0 || squareSums.Length == 0 || squareSums.Length % counts.Length != 0)
            throw new ArgumentException($"'{name}' has {squareSums.Length} sums and {counts.Length} counts; the sums must be a multiple of the counts, which are at least one.", nameof(counts));
        Check(name, "sum", squareSums, nameof(squareSums));
        Check(name, "count", counts, nameof(counts));
        Name = name;
        _squareSums = squareSums;
        _counts = counts;
    }

    /// <summary>The weight's name.</summary>
    public string Name { get; }

    /// <summary>[values] sums of x².</summary>
    public ReadOnlySpan<float> SquareSums => _squareSums;

    /// <summary>[parts] rows that went into each equal part of <see cref="SquareSums"/>.</summary>
    public ReadOnlySpan<float> Counts => _counts;

    /// <summary>Whether there is a part that nothing went into: an expert that the text never chose.</summary>
    public bool IsPartial => _counts.AsSpan().Contains(0f);

    /// <summary>E[x²] of every column: sum / count in float32; 1 for all columns of a part that nothing went into.</summary>
    /// <returns>[values], as <see cref="SquareSums"/>.</returns>
    /// <remarks>As llama.cpp v0.5.0's quantize tool computes it, so that encoders get the same bits.</remarks>
    public float[] Means()
    {
        float[] means = new float[_squareSums.Length];
        int columns = means.Length / _counts.Length;
        for (int i = 0; i < means.Length; i++)
            means[i] = _counts[i / columns] is var count && count > 0 ? _squareSums[i] / count : 1;
        return means;
    }

    private static void Check(string name, string what, float[] values, string parameter)
    {
        foreach (float value in values)
            if (!(value >= 0 && float.IsFinite(value)))
                throw new ArgumentException($"'{name}' has a {what} of {value}; a finite number of at least 0 is needed.", parameter);
    }
}
