using Nibble.Quantize.Evaluation;

namespace Nibble.Quantize.Tests.Evaluation;

/// <summary>Bounds as they are written on a command line.</summary>
public class GateTests
{
    [Theory]
    [InlineData("kl<=0.001", 0.001, true)]
    [InlineData("kl<=0.001", 0.0011, false)]
    [InlineData("kl99 <= 2e-2", 0.02, true)]
    [InlineData("same_top>=0.95", 0.95, true)]
    [InlineData("same_top>=0.95", 0.9499, false)]
    [InlineData("perplexity<=20", double.NaN, false)]
    public void A_value_keeps_a_bound_or_misses_it(string gate, double value, bool passes) => Assert.Equal(passes, Gate.Parse(gate).Passes(value));

    [Theory]
    [InlineData("kl<0.1", "metric, <= or >=")]
    [InlineData("kl", "metric, <= or >=")]
    [InlineData("accuracy<=1", "perplexity_ratio")]
    [InlineData("kl<=small", "'small' is no number")]
    [InlineData("kl<=NaN", "'NaN' is no number")]
    public void What_is_no_gate_is_refused_with_what_would_be_one(string text, string message) =>
        Assert.Contains(message, Assert.Throws<FormatException>(() => Gate.Parse(text)).Message, StringComparison.Ordinal);

    [Fact]
    public void Each_metric_is_taken_from_its_place()
    {
        PerplexityResult model = new(12, 1, 100, 10, [2], 4), baseline = new(10, 1, 100, 10, [2], 4);
        DivergenceResult divergence = new()
        {
            Kl = 0.1, KlError = 0, KlMedian = 0, Kl99 = 0.3, KlMax = 0, SameTop = 0.8, SameTopError = 0, DeltaP = 0, DeltaPRms = 0, Model = model, Baseline = baseline, PerplexityRatioError = 0,
        };
        double[] values = [.. Gate.Metrics.Select(metric => Gate.Parse(metric + "<=1").ValueOf(model, divergence))];
        Assert.Equal([12, 0.1, 0.3, 0.8, 1.2], values);
        Assert.Equal(12, Gate.Parse("perplexity<=1").ValueOf(model, null));
        Assert.Throws<ArgumentException>(() => Gate.Parse("kl<=1").ValueOf(model, null));
    }
}
