namespace Nibble.Core.Compute;

/// <summary>Weights used where the file's mapping has them, in the file's order.</summary>
public sealed class HostWeight : Weight
{
    private readonly IWeightSource _source;
    private readonly float[] _scales;

    /// <summary>Takes weights in without copying them.</summary>
    /// <param name="source">The weights.</param>
    /// <param name="scales">[matrices], or empty for 1.</param>
    public HostWeight(IWeightSource source, ReadOnlySpan<float> scales)
        : base(source)
    {
        Shapes.CheckUpload(source, scales);
        _source = source;
        _scales = scales.ToArray();
    }

    /// <summary>Decodes one row; see <see cref="IWeightSource.CopyRow"/>.</summary>
    /// <param name="row">Row, counted over all matrices.</param>
    /// <param name="values">[columns] float32, overwritten.</param>
    public void CopyRow(long row, Span<float> values) => _source.CopyRow(row, values);

    /// <summary>What the products of a matrix are multiplied by.</summary>
    /// <param name="matrix">Matrix.</param>
    public float ScaleOf(int matrix) => _scales.Length == 0 ? 1f : _scales[matrix];

    /// <summary>The weight as this class, which a backend that uses weights in place made it.</summary>
    /// <param name="weight">A weight.</param>
    /// <exception cref="ArgumentException">The weight belongs to another kind of backend.</exception>
    public static HostWeight Of(Weight weight) =>
        weight as HostWeight ?? throw new ArgumentException($"{weight?.Name} was uploaded to another backend.", nameof(weight));

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
    }
}
