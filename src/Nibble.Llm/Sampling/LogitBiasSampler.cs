using System.Globalization;

namespace Nibble.Llm.Sampling;

/// <summary>Adds numbers to the logits of given tokens.</summary>
public sealed class LogitBiasSampler : Sampler
{
    /// <summary>The table's line.</summary>
    public static SamplerDescription Description { get; } = new()
    {
        Name = "logit_bias",
        Summary = "adds numbers to the logits of given tokens",
        Place = SamplerPlace.First,
        Parameters =
        [
            new TextParameter<IReadOnlyList<LogitBias>>("--logit-bias", "ID(+/-)BIAS", o => o.LogitBiasSetting, "add to a token's logit: 15043+1, 15043-1, 15043-inf forbids", repeatable: true)
            {
                Aliases = ["-l"],
                Read = (setting, text) => [.. setting.IsExplicit ? setting.Value : [], Parse(text)],
                Write = biases => string.Join(' ', biases.Select(bias => string.Create(CultureInfo.InvariantCulture, $"{bias.Id}{(bias.Bias < 0 ? "-" : "+")}{Magnitude(bias.Bias)}"))),
                Fault = biases => biases.Any(bias => bias.Id < 0 || !(bias.Bias < float.PositiveInfinity)) ? Requirement : null,
            },
        ],
        Create = (options, context) => options.LogitBias.Count == 0 ? null : new LogitBiasSampler(options.LogitBias, context.VocabularySize),
    };

    private readonly LogitBias[] _biases;

    /// <summary>Makes the sampler; a token given twice gets the sum.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A token is not in the vocabulary.</exception>
    public LogitBiasSampler(IReadOnlyList<LogitBias> biases, int vocabularySize)
    {
        ArgumentNullException.ThrowIfNull(biases);
        foreach (LogitBias bias in biases)
            if ((uint)bias.Id >= (uint)vocabularySize)
                throw new ArgumentOutOfRangeException(nameof(biases), $"A logit bias names token {bias.Id}; the model's vocabulary has the ids 0 to {vocabularySize - 1}.");
        _biases = [.. biases];
    }

    private const string Requirement = "it must be a token id, + or -, and a finite bias or -inf, such as 15043+1 or 15043-inf.";

    /// <inheritdoc/>
    public override void Apply(CandidateSet candidates, RandomSource random)
    {
        Span<Candidate> active = candidates.Active;
        foreach (LogitBias bias in _biases)
        {
            // As the chain fills it, the set holds token i at place i.
            if (bias.Id < active.Length && active[bias.Id].Id == bias.Id)
            {
                active[bias.Id].Logit += bias.Bias;
                continue;
            }
            foreach (ref Candidate candidate in active)
                if (candidate.Id == bias.Id) candidate.Logit += bias.Bias;
        }
        candidates.IsSorted = false;
    }

    private static LogitBias Parse(string text)
    {
        int sign = text.AsSpan().IndexOfAny('+', '-');
        if (sign < 1 || !int.TryParse(text.AsSpan(0, sign), NumberStyles.None, CultureInfo.InvariantCulture, out int id)) throw new FormatException(Requirement);
        ReadOnlySpan<char> number = text.AsSpan(sign + 1);
        float magnitude = float.PositiveInfinity;
        if (!number.Equals("inf", StringComparison.OrdinalIgnoreCase)
            && !float.TryParse(number, NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent, CultureInfo.InvariantCulture, out magnitude)) throw new FormatException(Requirement);
        return new LogitBias(id, text[sign] == '-' ? -magnitude : magnitude);
    }

    private static string Magnitude(float bias) => float.IsInfinity(bias) ? "inf" : Math.Abs(bias).ToString(CultureInfo.InvariantCulture);
}
