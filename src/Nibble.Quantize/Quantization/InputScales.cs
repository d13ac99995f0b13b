using Nibble.Core.Compute;
using Nibble.Quantize.Calibration;
using Nibble.Quantize.Methods;

namespace Nibble.Quantize.Quantization;

/// <summary>The scale that activations are rounded to multiples of, from what was seen of them.</summary>
internal static class InputScales
{
    private const int Bits = 8;

    /// <summary>What a plan needs to know of activations to find their scales: of single columns where these are divided by something on the way.</summary>
    /// <param name="transform">The plan's transform, or null.</param>
    public static StatisticKinds Needs(LayerTransform? transform) => transform is null ? StatisticKinds.Histogram : StatisticKinds.ColumnHistograms;

    /// <summary>The scale: the estimated range over 127.</summary>
    /// <param name="tensor">The tensor, whose target has a range.</param>
    /// <param name="inputs">What it was multiplied with, or null.</param>
    /// <param name="divisors">[columns] what the inputs are divided by, or null.</param>
    /// <exception cref="QuantizationException">Nothing but zeros was seen.</exception>
    public static float Of(PlannedTensor tensor, ActivationStatistics? inputs, float[]? divisors)
    {
        string estimator = ((EncodingTarget)tensor.Target).InputRange!;
        double greatest = 0;
        for (int i = 0; i < (inputs?.Lowest.Length ?? 0); i++)
            greatest = Math.Max(greatest, Math.Max(-(double)inputs!.Lowest[i], inputs.Highest[i]) / (divisors?[i % divisors.Length] ?? 1));
        if (!(greatest > 0))
            throw new QuantizationException($"tensor '{tensor.Source.Name}': no activations but zeros were seen, so that there is no range of them. Use a longer text (--text), or leave them dynamic with --tensor {tensor.Source.Name}={((EncodingTarget)tensor.Target) with { InputRange = null }}.");
        double range = greatest; // which no bin's edge is
        if (estimator != RangeEstimator.MinMax)
        {
            AbsHistogram histogram = inputs!.ColumnHistograms?.Joined(divisors) ?? inputs.Histogram!;
            range = Math.Min(RangeEstimator.All.Single(one => one.Name == estimator).Estimate(histogram, Bits), greatest);
        }

        return (float)Math.Clamp(range / InputRounding.Most, InputRounding.LeastScale, InputRounding.MostScale);
    }
}
