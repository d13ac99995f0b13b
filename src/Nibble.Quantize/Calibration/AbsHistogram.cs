namespace Nibble.Quantize.Calibration;

/// <summary>How often magnitudes |x| fall into bins of one width from 0 on. Greater magnitudes than were foreseen double the width, so that nothing is ever cut off.</summary>
public sealed class AbsHistogram
{
    /// <summary>Bins. After a doubling at least half of them lie below the greatest magnitude.</summary>
    public const int BinCount = 4096;

    private readonly long[] _bins = new long[BinCount];

    /// <summary>An empty histogram.</summary>
    public AbsHistogram()
    {
    }

    /// <summary>A histogram of known bins.</summary>
    /// <param name="bins">[<see cref="BinCount"/>] counts; copied.</param>
    /// <param name="width">Width of a bin; 0 where there are no values, or none but zeros.</param>
    /// <exception cref="ArgumentException">Another number of bins, a negative count or width.</exception>
    public AbsHistogram(ReadOnlySpan<long> bins, float width)
    {
        if (bins.Length != BinCount) throw new ArgumentException($"there are {bins.Length} bins; {BinCount} are needed.", nameof(bins));
        foreach (long count in bins)
            ArgumentOutOfRangeException.ThrowIfNegative(count, nameof(bins));
        if (!(width >= 0 && float.IsFinite(width))) throw new ArgumentOutOfRangeException(nameof(width), $"the width of a bin is {width}; a finite number of at least 0 is needed.");
        bins.CopyTo(_bins);
        Width = width;
    }

    /// <summary>Width of a bin: bin i counts magnitudes from i x width to below (i + 1) x width.</summary>
    public float Width { get; private set; }

    /// <summary>[<see cref="BinCount"/>] counts.</summary>
    public ReadOnlySpan<long> Bins => _bins;

    /// <summary>Values that were counted.</summary>
    public long Count => _bins.Sum();

    /// <summary>Counts values.</summary>
    /// <param name="values">Finite values.</param>
    public void Add(ReadOnlySpan<float> values)
    {
        float greatest = 0;
        foreach (float value in values)
            greatest = MathF.Max(greatest, MathF.Abs(value));
        Fit(greatest);
        if (Width == 0)
        {
            _bins[0] += values.Length;
            return;
        }

        float scale = 1 / Width;
        foreach (float value in values)
            _bins[Math.Min((int)(MathF.Abs(value) * scale), BinCount - 1)]++;
    }

    /// <summary>The width of bins that hold a magnitude: a power of two.</summary>
    /// <param name="greatest">The magnitude, above 0.</param>
    /// <param name="bins">How many bins, a power of two.</param>
    internal static float WidthFor(float greatest, int bins) => MathF.ScaleB(1, MathF.ILogB(greatest) + 1 - MathF.ILogB(bins));

    // A power of two as the width keeps every bin's edge where it was when bins are joined.
    private void Fit(float greatest)
    {
        if (greatest == 0) return;
        float needed = WidthFor(greatest, BinCount);
        if (Width == 0) Width = needed;
        while (Width < needed)
        {
            for (int i = 0; i < BinCount / 2; i++)
                _bins[i] = _bins[2 * i] + _bins[(2 * i) + 1];
            Array.Clear(_bins, BinCount / 2, BinCount / 2);
            Width *= 2;
        }
    }
}
