using Nibble.Quantize.Calibration;
using Nibble.Quantize.Methods;
using Nibble.Quantize.Quantization;

namespace Nibble.Quantize.Tests.Methods;

/// <summary>KL of jargon-6m with activations of 8 bits that have one stored scale for each linear layer.</summary>
public sealed class StaticRangeLossTests(MethodMeter meter) : IClassFixture<MethodMeter>
{
    [Fact]
    public void Smoothing_makes_static_activations_better()
    {
        double smoothed = Kl("minmax", isSmoothed: true), plain = Kl("minmax", isSmoothed: false);
        Assert.InRange(smoothed, 0.0001, 0.01);
        Assert.InRange(plain, smoothed * 1.3, 0.1);
    }

    [Fact(Explicit = true)]
    public void Every_estimator_loses_little_where_channels_were_smoothed()
    {
        foreach ((string name, _) in RangeEstimator.All)
            Assert.InRange(Kl(name, isSmoothed: true), 0.0001, 0.02);
    }

    private double Kl(string range, bool isSmoothed)
    {
        (double kl, _) = meter.Of(new PlanOptions { Target = TensorTarget.Find($"int8:row:static-{range}"), Transform = isSmoothed ? new SmoothScaling() : null }, chunks: 64);
        Console.WriteLine($"KL static {range}{(isSmoothed ? " smoothed" : "")}: {kl:F6}");
        return kl;
    }
}
