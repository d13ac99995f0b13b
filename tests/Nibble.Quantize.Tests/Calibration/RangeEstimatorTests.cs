using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Tests.Calibration;

/// <summary>Ranges of known distributions.</summary>
public class RangeEstimatorTests
{
    [Fact]
    public void A_histogram_counts_every_value_however_large_later_ones_are()
    {
        AbsHistogram histogram = new();
        histogram.Add([0, 0]);
        Assert.Equal(0, histogram.Width);
        histogram.Add([0.5f, -0.5f, 0.9999f]);
        Assert.Equal(1f / AbsHistogram.BinCount, histogram.Width);
        histogram.Add([-3.5f]);
        Assert.Equal(4f / AbsHistogram.BinCount, histogram.Width);
        Assert.Equal(6, histogram.Count);
        Assert.Equal(2, histogram.Bins[0]);
        Assert.Equal(2, histogram.Bins[AbsHistogram.BinCount / 8]);
        Assert.Equal(1, histogram.Bins[(AbsHistogram.BinCount / 4) - 1]);
        Assert.Equal(1, histogram.Bins[AbsHistogram.BinCount * 7 / 8]);
        histogram.Add([4]);
        Assert.Equal(8f / AbsHistogram.BinCount, histogram.Width);
        Assert.Equal(7, histogram.Count);
    }

    [Fact]
    public void Evenly_spread_values_have_their_share_as_percentile_and_are_not_clipped()
    {
        AbsHistogram histogram = new();
        histogram.Add([.. Enumerable.Range(0, 100_000).Select(i => (i + 0.5f) / 100_000)]);
        Assert.Equal(1, RangeEstimator.Greatest(histogram), 1e-3);
        Assert.Equal(0.9, RangeEstimator.Percentile(histogram, 0.9), 1e-3);
        Assert.Equal(1, RangeEstimator.Percentile(histogram, 1), 1e-3);
        Assert.Equal(1 / Math.Sqrt(3), RangeEstimator.Sigmas(histogram, 1), 1e-3);
        Assert.Equal(1, RangeEstimator.Sigmas(histogram, 3), 1e-3);
        Assert.InRange(RangeEstimator.MeanSquaredError(histogram, 8), 0.98, 1.001);
        Assert.InRange(RangeEstimator.Entropy(histogram, 8), 0.98, 1.001);
    }

    /// <summary>Banner et al., ACIQ, arXiv 1810.05723, give 2.55 (4 bits) and 3.92 (8 bits) standard deviations for 2^bits steps; ours are two fewer and have a zero.</summary>
    [Theory]
    [InlineData(4, 2.3, 2.75)]
    [InlineData(8, 3.6, 4.3)]
    public void Normal_values_are_clipped_where_the_literature_clips_them(int bits, double lowest, double highest) =>
        Assert.InRange(RangeEstimator.MeanSquaredError(Normal(0), bits), lowest, highest);

    [Fact]
    public void One_outlier_moves_the_greatest_value_but_no_other_estimate()
    {
        AbsHistogram histogram = Normal(50);
        Assert.Equal(50, RangeEstimator.Greatest(histogram), 0.1);
        Assert.Equal(3, RangeEstimator.Sigmas(histogram, 3), 0.05);
        Assert.Equal(3.89, RangeEstimator.Percentile(histogram, 0.9999), 0.3);
        Assert.InRange(RangeEstimator.MeanSquaredError(histogram, 4), 2.3, 3);
        Assert.InRange(RangeEstimator.Entropy(histogram, 8), 2.5, 12);
    }

    [Fact]
    public void Every_estimator_gives_a_range_between_nothing_and_the_greatest_value()
    {
        AbsHistogram histogram = Normal(0);
        Assert.Equal(["minmax", "percentile", "3sigma", "mse", "entropy"], RangeEstimator.All.Select(one => one.Name));
        foreach ((_, Func<AbsHistogram, int, double> estimate) in RangeEstimator.All)
            Assert.InRange(estimate(histogram, 8), 1, RangeEstimator.Greatest(histogram));
        Assert.Throws<ArgumentException>(() => RangeEstimator.Greatest(new AbsHistogram()));
        Assert.Throws<ArgumentOutOfRangeException>(() => RangeEstimator.Entropy(histogram, 9));
        Assert.Throws<ArgumentOutOfRangeException>(() => RangeEstimator.Percentile(histogram, 0));
    }

    // Standard normal values by Box and Muller, and an outlier unless it is 0.
    private static AbsHistogram Normal(float outlier)
    {
        Random random = new(3);
        float[] values = [.. Enumerable.Range(0, 300_000).Select(_ => (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble())))];
        AbsHistogram histogram = new();
        histogram.Add(values);
        if (outlier != 0) histogram.Add([outlier]);
        return histogram;
    }
}
