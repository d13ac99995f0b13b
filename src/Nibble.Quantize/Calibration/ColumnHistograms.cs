namespace Nibble.Quantize.Calibration;

/// <summary>
/// How often the magnitudes of each column fall into bins of that column's own width, so that the histogram of all columns is known for whatever each of them is divided by later. As in <see cref="AbsHistogram"/>, greater magnitudes
/// than were foreseen double a column's width.
/// </summary>
public sealed class ColumnHistograms
{
    /// <summary>Bins of a column. After a doubling at least half of them lie below the greatest magnitude.</summary>
    public const int BinCount = 512;

    // Columns whose bins stay in the second-level cache while rows pass.
    private const int ColumnsOfTask = 64;

    private readonly int[] _bins;
    private readonly float[] _widths;
    private long _rows;

    /// <summary>Empty histograms.</summary>
    /// <param name="columns">Columns.</param>
    public ColumnHistograms(int columns)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(columns);
        (_bins, _widths) = (new int[checked(columns * BinCount)], new float[columns]);
    }

    /// <summary>Histograms of known bins.</summary>
    /// <param name="bins">[columns x <see cref="BinCount"/>] counts; copied.</param>
    /// <param name="widths">[columns] widths of bins; copied.</param>
    /// <exception cref="ArgumentException">The lengths do not fit each other, or a count or width is negative.</exception>
    public ColumnHistograms(ReadOnlySpan<int> bins, ReadOnlySpan<float> widths)
        : this(widths.Length)
    {
        if (bins.Length != _bins.Length) throw new ArgumentException($"there are {bins.Length} bins of {widths.Length} columns; {_bins.Length} are needed.", nameof(bins));
        foreach (int count in bins)
            ArgumentOutOfRangeException.ThrowIfNegative(count, nameof(bins));
        foreach (float width in widths)
            if (!(width >= 0 && float.IsFinite(width))) throw new ArgumentOutOfRangeException(nameof(widths), $"the width of a bin is {width}; a finite number of at least 0 is needed.");
        bins.CopyTo(_bins);
        widths.CopyTo(_widths);
        for (int i = 0; i < BinCount; i++) _rows += bins[i];
    }

    /// <summary>Columns.</summary>
    public int Columns => _widths.Length;

    /// <summary>[columns x <see cref="BinCount"/>] counts.</summary>
    public ReadOnlySpan<int> Bins => _bins;

    /// <summary>[columns] widths of bins; 0 where a column had nothing but zeros.</summary>
    public ReadOnlySpan<float> Widths => _widths;

    /// <summary>Bytes of the histograms of so many columns.</summary>
    public static long Bytes(int columns) => columns * ((BinCount * sizeof(int)) + (long)sizeof(float));

    /// <summary>Counts rows, on as many threads as <see cref="Work"/> allows.</summary>
    /// <param name="x">[rows x columns], finite.</param>
    /// <param name="rows">Rows.</param>
    /// <exception cref="CalibrationException">There are more rows than can be counted.</exception>
    public unsafe void Add(ReadOnlySpan<float> x, int rows)
    {
        if ((_rows += rows) > int.MaxValue) throw new CalibrationException($"{_rows} rows were looked at; at most {int.MaxValue} can be counted. Use fewer chunks.");
        fixed (float* pointer = x)
        {
            float* all = pointer;
            Work.For((Columns + ColumnsOfTask - 1) / ColumnsOfTask, task => AddColumns(all, rows, task * ColumnsOfTask, Math.Min((task + 1) * ColumnsOfTask, Columns)));
        }
    }

    /// <summary>The histogram of all columns, each divided by a number. The counts of a bin are spread evenly over those that it falls into.</summary>
    /// <param name="divisors">[columns] above 0, or empty for 1.</param>
    /// <exception cref="ArgumentException">There is another number of divisors, or one is not above 0.</exception>
    public AbsHistogram Joined(ReadOnlySpan<float> divisors = default)
    {
        if (!divisors.IsEmpty && divisors.Length != Columns) throw new ArgumentException($"there are {divisors.Length} divisors of {Columns} columns.", nameof(divisors));
        double[] widths = new double[Columns];
        double greatest = 0;
        for (int column = 0; column < Columns; column++)
        {
            float divisor = divisors.IsEmpty ? 1 : divisors[column];
            if (!(divisor > 0)) throw new ArgumentOutOfRangeException(nameof(divisors), $"column {column} is divided by {divisor}; a number above 0 is needed.");
            widths[column] = _widths[column] / (double)divisor;
            greatest = Math.Max(greatest, (BinsOf(column).LastIndexOfAnyExcept(0) + 1) * widths[column]);
        }

        long[] joined = new long[AbsHistogram.BinCount];
        float width = greatest == 0 ? 0 : AbsHistogram.WidthFor((float)greatest, AbsHistogram.BinCount);
        for (int column = 0; column < Columns; column++)
        {
            ReadOnlySpan<int> bins = BinsOf(column);
            for (int bin = 0; bin < BinCount; bin++)
                if (bins[bin] > 0) Spread(bins[bin], width == 0 ? 0 : bin * widths[column] / width, width == 0 ? 0 : widths[column] / width, joined);
        }

        return new AbsHistogram(joined, width);
    }

    // Counts of a bin from start on, in bins of the joined histogram. Roundings of the parts add up to the whole.
    private static void Spread(int count, double start, double length, long[] joined)
    {
        int first = Math.Min((int)start, joined.Length - 1), last = Math.Clamp((int)Math.Ceiling(start + length) - 1, first, joined.Length - 1);
        long given = 0;
        for (int i = first; i <= last; i++)
        {
            long until = i == last ? count : (long)Math.Round(count * (i + 1 - start) / length);
            joined[i] += until - given;
            given = until;
        }
    }

    private ReadOnlySpan<int> BinsOf(int column) => _bins.AsSpan(column * BinCount, BinCount);

    private unsafe void AddColumns(float* x, int rows, int first, int end)
    {
        Span<float> greatest = stackalloc float[ColumnsOfTask], scales = stackalloc float[ColumnsOfTask];
        greatest.Clear();
        for (int row = 0; row < rows; row++)
        {
            float* values = x + ((long)row * Columns);
            for (int column = first; column < end; column++)
                greatest[column - first] = MathF.Max(greatest[column - first], MathF.Abs(values[column]));
        }

        for (int column = first; column < end; column++)
        {
            Fit(column, greatest[column - first]);
            scales[column - first] = _widths[column] == 0 ? 0 : 1 / _widths[column];
        }

        for (int row = 0; row < rows; row++)
        {
            float* values = x + ((long)row * Columns);
            for (int column = first; column < end; column++)
                _bins[(column * BinCount) + Math.Min((int)(MathF.Abs(values[column]) * scales[column - first]), BinCount - 1)]++;
        }
    }

    private void Fit(int column, float greatest)
    {
        if (greatest == 0) return;
        float needed = AbsHistogram.WidthFor(greatest, BinCount);
        if (_widths[column] == 0) _widths[column] = needed;
        for (Span<int> bins = _bins.AsSpan(column * BinCount, BinCount); _widths[column] < needed; _widths[column] *= 2)
        {
            for (int i = 0; i < BinCount / 2; i++)
                bins[i] = bins[2 * i] + bins[(2 * i) + 1];
            bins[(BinCount / 2)..].Clear();
        }
    }
}
