using System.Collections.Immutable;

namespace Nibble.Quantize.Calibration;

/// <summary>Where a range [-r, r] for quantized activations should end, from a histogram of |x|. What lies beyond is clipped.</summary>
/// <remarks>Sources: ModelOpt's calib/histogram.py for percentile, mean squared error and entropy; Migacz, 8-bit inference with TensorRT, GTC 2017, for the entropy method.</remarks>
public static class RangeEstimator
{
    // Bins below which no range ends when ranges are searched, as in ModelOpt, of a histogram whose upper half is not empty.
    private const int FirstSearched = 128;

    /// <summary>The name of <see cref="Greatest"/>.</summary>
    public const string MinMax = "minmax";

    /// <summary>The estimators by name, with their usual settings; each takes a histogram and the bits of a code.</summary>
    public static ImmutableArray<(string Name, Func<AbsHistogram, int, double> Estimate)> All { get; } =
    [
        (MinMax, (histogram, _) => Greatest(histogram)),
        ("percentile", (histogram, _) => Percentile(histogram, 0.9999)),
        ("3sigma", (histogram, _) => Sigmas(histogram, 3)),
        ("mse", MeanSquaredError),
        ("entropy", Entropy),
    ];

    /// <summary>The upper edge of the last bin that is not empty: nothing is clipped.</summary>
    /// <param name="histogram">The histogram.</param>
    /// <exception cref="ArgumentException">It is empty.</exception>
    public static double Greatest(AbsHistogram histogram) => Used(histogram) * (double)histogram.Width;

    /// <summary>The upper edge of the first bin with which a share of all values is covered.</summary>
    /// <param name="histogram">The histogram.</param>
    /// <param name="share">Above 0 to 1, usually 0.999 to 0.99999.</param>
    /// <exception cref="ArgumentException">It is empty, or the share is out of range.</exception>
    public static double Percentile(AbsHistogram histogram, double share)
    {
        if (!(share is > 0 and <= 1)) throw new ArgumentOutOfRangeException(nameof(share), $"the share is {share}; it must be above 0 and at most 1.");
        int used = Used(histogram);
        double wanted = share * histogram.Count;
        long sum = 0;
        for (int i = 0; i < used; i++)
            if ((sum += histogram.Bins[i]) >= wanted) return (i + 1) * (double)histogram.Width;
        return used * (double)histogram.Width;
    }

    /// <summary>A number of standard deviations, of values around zero; at most the greatest magnitude.</summary>
    /// <param name="histogram">The histogram; a value counts as the middle of its bin.</param>
    /// <param name="number">How many, above 0.</param>
    /// <exception cref="ArgumentException">It is empty, or the number is not above 0.</exception>
    public static double Sigmas(AbsHistogram histogram, double number)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(number);
        int used = Used(histogram);
        double squares = 0;
        for (int i = 0; i < used; i++)
            squares += histogram.Bins[i] * Middle(histogram, i) * Middle(histogram, i);
        return Math.Min(number * Math.Sqrt(squares / histogram.Count), used * (double)histogram.Width);
    }

    /// <summary>The end with the least mean squared error of rounding to 2^(bits-1) - 1 steps and clipping.</summary>
    /// <param name="histogram">The histogram; a value counts as the middle of its bin.</param>
    /// <param name="bits">Bits of a signed code, 2 to 8.</param>
    /// <exception cref="ArgumentException">It is empty, or the bits are out of range.</exception>
    public static double MeanSquaredError(AbsHistogram histogram, int bits)
    {
        int levels = Levels(bits), used = Used(histogram);
        double best = double.PositiveInfinity, range = used * (double)histogram.Width;
        for (int end = First(used); end <= used; end++)
        {
            double limit = end * (double)histogram.Width, step = limit / levels, error = 0;
            for (int i = 0; i < used; i++)
            {
                if (histogram.Bins[i] == 0) continue;
                double value = Middle(histogram, i), difference = value - (Math.Min(Math.Round(value / step), levels) * step);
                error += histogram.Bins[i] * difference * difference;
            }

            if (error < best) (best, range) = (error, limit);
        }

        return range;
    }

    /// <summary>The end for which the distribution loses least, in KL divergence, when it is clipped and its bins are joined to 2^(bits-1) levels.</summary>
    /// <param name="histogram">The histogram; its first bin counts as much as its second, since exact zeros lose nothing.</param>
    /// <param name="bits">Bits of a signed code, 2 to 8.</param>
    /// <exception cref="ArgumentException">It is empty, or the bits are out of range.</exception>
    public static double Entropy(AbsHistogram histogram, int bits)
    {
        int levels = Levels(bits) + 1, used = Used(histogram);
        double[] bins = [.. histogram.Bins[..used].ToArray()];
        if (used > 1) bins[0] = bins[1];
        double total = bins.Sum(), best = double.PositiveInfinity, range = used * (double)histogram.Width;
        if (total == 0) return range;
        for (int end = Math.Max(First(used), Math.Min(levels, used)); end <= used; end++)
        {
            double loss = JoinedLoss(bins, end, levels, total);
            if (loss <= best) (best, range) = (loss, end * (double)histogram.Width);
        }

        return range;
    }

    // KL of the clipped distribution against the same with the bins of each level made equal, those that are empty left empty.
    private static double JoinedLoss(double[] bins, int end, int levels, double total)
    {
        double clipped = 0;
        for (int i = end; i < bins.Length; i++)
            clipped += bins[i];
        double loss = 0, joinedTotal = 0;
        for (int i = 0; i < end; i++)
            joinedTotal += bins[i];
        if (joinedTotal == 0) return double.PositiveInfinity;
        for (int level = 0; level < levels; level++)
        {
            int first = (int)((long)level * end / levels), last = (int)((level + 1L) * end / levels);
            double sum = 0;
            int filled = 0;
            for (int i = first; i < last; i++)
            {
                sum += bins[i];
                if (bins[i] > 0) filled++;
            }

            double joined = filled == 0 ? 0 : sum / filled / joinedTotal;
            for (int i = first; i < last; i++)
            {
                double reference = (bins[i] + (i == end - 1 ? clipped : 0)) / total;
                if (reference == 0) continue;
                if (bins[i] == 0) return double.PositiveInfinity;
                loss += reference * Math.Log(reference / joined);
            }
        }

        return loss;
    }

    private static int Levels(int bits) =>
        bits is >= 2 and <= 8 ? (1 << (bits - 1)) - 1 : throw new ArgumentOutOfRangeException(nameof(bits), $"a code of {bits} bits was asked for; it must be 2 to 8.");

    private static int First(int used) => Math.Min(FirstSearched, used);

    private static double Middle(AbsHistogram histogram, int bin) => (bin + 0.5) * histogram.Width;

    // Bins up to the last that is not empty.
    private static int Used(AbsHistogram histogram)
    {
        ArgumentNullException.ThrowIfNull(histogram);
        int last = histogram.Bins.LastIndexOfAnyExcept(0);
        return last >= 0 ? last + 1 : throw new ArgumentException("the histogram is empty; collect activations first.", nameof(histogram));
    }
}
