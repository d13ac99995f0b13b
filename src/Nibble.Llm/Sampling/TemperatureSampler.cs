namespace Nibble.Llm.Sampling;

/// <summary>Divides logits by a temperature, which the entropy of the candidates may move within a range (dynamic temperature, kalomaze, 2023).</summary>
/// <remarks>A temperature of 0 or below leaves the first candidate in order alone: greedy decoding.</remarks>
public sealed class TemperatureSampler(float temperature, float range, float exponent) : Sampler
{
    /// <summary>The table's line.</summary>
    public static SamplerDescription Description { get; } = new()
    {
        Name = "temperature",
        Letter = 't',
        Aliases = ["temp"],
        Summary = "flattens or sharpens the probabilities",
        Parameters =
        [
            new NumberParameter<float>("--temp", o => o.TemperatureSetting, float.MinValue, float.MaxValue, "temperature; 0 or below: always the most probable token") { Aliases = ["--temperature"], MetadataKey = "general.sampling.temp" },
            new NumberParameter<float>("--dynatemp-range", o => o.DynamicTemperatureRangeSetting, 0, float.MaxValue, "how far entropy may move the temperature down and up; 0: off"),
            new NumberParameter<float>("--dynatemp-exp", o => o.DynamicTemperatureExponentSetting, 0, float.MaxValue, "power of the normalized entropy in the dynamic temperature"),
        ],
        Create = (o, _) => o is { Temperature: 1, DynamicTemperatureRange: 0 } ? null : new TemperatureSampler(o.Temperature, o.DynamicTemperatureRange, o.DynamicTemperatureExponent),
    };

    /// <inheritdoc/>
    /// <remarks>A divisor may make two logits equal that were not.</remarks>
    public override bool KeepsBest => IsGreedy;

    /// <inheritdoc/>
    public override bool IsGreedy => range <= 0 && temperature <= 0;

    /// <inheritdoc/>
    public override void Apply(CandidateSet candidates, RandomSource random)
    {
        if (range > 0 && candidates.Active.Length <= 1) return;
        float divisor = range > 0 ? FromEntropy(candidates) : temperature;
        if (divisor <= 0)
        {
            candidates.KeepTop(1);
            return;
        }
        foreach (ref Candidate candidate in candidates.Active) candidate.Logit /= divisor;
    }

    private float FromEntropy(CandidateSet candidates)
    {
        float low = Math.Max(0, temperature - range), high = temperature + range;
        candidates.Sort(); // sums then run from high to low, as llama.cpp's do, and cuts fall where its do
        candidates.Softmax();
        float entropy = 0;
        foreach (ref Candidate candidate in candidates.Active)
            if (candidate.Probability > 0) entropy -= candidate.Probability * MathF.Log(candidate.Probability);
        float highest = -MathF.Log(1f / candidates.Active.Length);
        return low + (high - low) * MathF.Pow(entropy / highest, exponent);
    }
}
