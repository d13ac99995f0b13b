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

    // Inputs of this model have long tails, of which 3sigma and entropy cut too much off; docs/quantization.md says so.
    [Theory(Explicit = true)]
    [InlineData("minmax", 0.001, 0.003)]
    [InlineData("percentile", 0.0007, 0.002)]
    [InlineData("mse", 0.0006, 0.002)]
    [InlineData("entropy", 0.003, 0.009)]
    [InlineData("3sigma", 0.08, 0.25)]
    public void Estimators_lose_what_the_documentation_says_where_channels_were_smoothed(string range, double least, double most) =>
        Assert.InRange(Kl(range, isSmoothed: true), least, most);

    private double Kl(string range, bool isSmoothed)
    {
        (double kl, _) = meter.Of(new PlanOptions { Target = TensorTarget.Find($"int8:row:static-{range}"), Transform = isSmoothed ? new SmoothScaling() : null }, chunks: 64);
        Console.WriteLine($"KL static {range}{(isSmoothed ? " smoothed" : "")}: {kl:F6}");
        return kl;
    }
}
