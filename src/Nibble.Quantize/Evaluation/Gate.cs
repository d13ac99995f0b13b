using System.Collections.Immutable;
using System.Globalization;

namespace Nibble.Quantize.Evaluation;

/// <summary>A bound on something measured, such as <c>kl&lt;=0.001</c> or <c>same_top&gt;=0.95</c>.</summary>
/// <param name="Metric">A name of <see cref="Metrics"/>.</param>
/// <param name="IsUpper">Whether the value must be at most the bound, not at least.</param>
/// <param name="Bound">The bound.</param>
public sealed record Gate(string Metric, bool IsUpper, double Bound)
{
    private const string PerplexityName = "perplexity";

    private static readonly ImmutableArray<(string Name, Func<DivergenceResult, double> Value)> Compared =
    [
        ("kl", result => result.Kl),
        ("kl99", result => result.Kl99),
        ("same_top", result => result.SameTop),
        ("perplexity_ratio", result => result.PerplexityRatio),
    ];

    /// <summary>What can be bounded: perplexity, and against a baseline kl and kl99 (nats), same_top (a share, 0 to 1) and perplexity_ratio.</summary>
    public static ImmutableArray<string> Metrics { get; } = [PerplexityName, .. Compared.Select(row => row.Name)];

    /// <summary>Whether the metric compares with a baseline.</summary>
    public bool NeedsBaseline => Metric != PerplexityName;

    /// <summary>Reads a gate.</summary>
    /// <param name="text">A metric, <c>&lt;=</c> or <c>&gt;=</c>, and a number.</param>
    /// <exception cref="FormatException">It is none.</exception>
    public static Gate Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        int at = text.IndexOfAny(['<', '>']);
        if (at < 0 || at + 1 == text.Length || text[at + 1] != '=') throw new FormatException($"'{text}' is no gate; write a metric, <= or >=, and a number, such as kl<=0.001.");
        string metric = text[..at].Trim(), number = text[(at + 2)..].Trim();
        if (!Metrics.Contains(metric)) throw new FormatException($"'{metric}' is no metric of a gate; use {string.Join(", ", Metrics)}.");
        if (!double.TryParse(number, NumberStyles.Float, CultureInfo.InvariantCulture, out double bound) || !double.IsFinite(bound)) throw new FormatException($"'{number}' is no number, so '{text}' is no gate; write one such as kl<=0.001.");
        return new Gate(metric, text[at] == '<', bound);
    }

    /// <summary>The metric's value.</summary>
    /// <param name="perplexity">The model's perplexity.</param>
    /// <param name="divergence">The comparison with a baseline; null without one.</param>
    /// <exception cref="ArgumentException">The metric needs a baseline.</exception>
    public double ValueOf(PerplexityResult perplexity, DivergenceResult? divergence)
    {
        ArgumentNullException.ThrowIfNull(perplexity);
        if (!NeedsBaseline) return perplexity.Value;
        if (divergence is null) throw new ArgumentException($"'{Metric}' compares with a baseline, and none was measured.", nameof(divergence));
        return Compared.First(row => row.Name == Metric).Value(divergence);
    }

    /// <summary>Whether a value keeps the bound; NaN never does.</summary>
    /// <param name="value">The metric's value.</param>
    public bool Passes(double value) => IsUpper ? value <= Bound : value >= Bound;

    /// <summary>The gate as it is written.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Metric}{(IsUpper ? "<=" : ">=")}{Bound}");
}
