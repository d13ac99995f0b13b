using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Tests.Calibration;

/// <summary>Histograms of columns, and what they say of all columns after each was divided by something.</summary>
public class ColumnHistogramsTests
{
    [Fact]
    public void Each_column_has_bins_of_its_own_width_however_large_later_values_are()
    {
        ColumnHistograms histograms = new(3);
        histograms.Add([0.5f, 0, -3, -0.75f, 0, 0.1f], 2);
        Assert.Equal([1f / 512, 0, 4f / 512], histograms.Widths.ToArray());
        histograms.Add([5, 0, 0.25f], 1);
        Assert.Equal([8f / 512, 0, 4f / 512], histograms.Widths.ToArray());
        Assert.Equal((1, 1, 1), (histograms.Bins[32], histograms.Bins[48], histograms.Bins[320]));
        Assert.Equal(3, histograms.Bins[512]);
        Assert.Equal((1, 1, 1), (histograms.Bins[1024 + 384], histograms.Bins[1024 + 12], histograms.Bins[1024 + 32]));
        Assert.Equal(9, histograms.Bins.ToArray().Sum());
    }

    [Theory]
    [InlineData(1, false)]
    [InlineData(70, false)]
    [InlineData(70, true)]
    public void Ranges_of_divided_columns_are_those_of_a_histogram_of_the_divided_values(int columns, bool isDivided)
    {
        const int Rows = 4000;
        Random random = new(columns);
        float[] sizes = [.. Enumerable.Range(0, columns).Select(i => i == 3 ? 40 : 0.2f + random.NextSingle())], divisors = [.. sizes.Select(size => MathF.Pow(size, 0.7f))];
        float[] x = [.. Enumerable.Range(0, Rows * columns).Select(i => sizes[i % columns] * (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble())))];
        ColumnHistograms histograms = new(columns);
        AbsHistogram expected = new();
        for (int row = 0; row < Rows; row += 500)
        {
            Span<float> part = x.AsSpan(row * columns, 500 * columns);
            histograms.Add(part, 500);
            expected.Add([.. part.ToArray().Select((value, i) => isDivided ? value / divisors[i % columns] : value)]);
        }

        AbsHistogram joined = histograms.Joined(isDivided ? divisors : default);
        Assert.Equal(expected.Count, joined.Count);
        foreach ((string name, Func<AbsHistogram, int, double> estimate) in RangeEstimator.All)
        {
            // Entropy is a search over many nearly equal minima.
            double wanted = estimate(expected, 8), tolerance = name == "entropy" ? 0.25 : 0.02;
            Assert.InRange(estimate(joined, 8), wanted * (1 - tolerance), wanted * (1 + tolerance));
        }

        AbsHistogram again = new ColumnHistograms(histograms.Bins, histograms.Widths).Joined(isDivided ? divisors : default);
        Assert.Equal((joined.Width, joined.Bins.ToArray()), (again.Width, again.Bins.ToArray()), (left, right) => left.Item1 == right.Item1 && left.Item2.AsSpan().SequenceEqual(right.Item2));
    }

    [Fact]
    public void Nothing_but_zeros_is_counted_and_wrong_arguments_are_refused()
    {
        ColumnHistograms histograms = new(2);
        histograms.Add(new float[6], 3);
        Assert.Equal((6, 0f), (histograms.Joined().Count, histograms.Joined().Width));
        Assert.Throws<ArgumentException>(() => histograms.Joined([1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => histograms.Joined([1, 0]));
        Assert.Throws<ArgumentException>(() => new ColumnHistograms(new int[512], new float[2]));
        Assert.Throws<ArgumentOutOfRangeException>(() => new ColumnHistograms(new int[512], [float.NaN]));
        Assert.Throws<ArgumentOutOfRangeException>(() => new ColumnHistograms([.. Enumerable.Repeat(-1, 512)], [1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => new ColumnHistograms(0));
    }
}
