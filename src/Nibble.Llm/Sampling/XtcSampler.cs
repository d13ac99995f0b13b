namespace Nibble.Llm.Sampling;

/// <summary>XTC ("exclude top choices", p-e-w, 2024): with a given chance, removes all tokens above a probability but the least probable of them.</summary>
public sealed class XtcSampler(float probability, float threshold, int minKeep) : Sampler
{
    /// <summary>The table's line.</summary>
    public static SamplerDescription Description { get; } = new()
    {
        Name = "xtc",
        Letter = 'x',
        Summary = "removes the top choices but the last of them, by chance",
        Parameters =
        [
            new NumberParameter<float>("--xtc-probability", o => o.XtcProbabilitySetting, 0, 1, "chance that XTC acts on a token; 0: off") { MetadataKey = "general.sampling.xtc_probability" },
            new NumberParameter<float>("--xtc-threshold", o => o.XtcThresholdSetting, 0, 1, "probability from which a token is a top choice; above 0.5: off") { MetadataKey = "general.sampling.xtc_threshold" },
        ],
        Create = (o, _) => o.XtcProbability <= 0 || o.XtcThreshold > 0.5f ? null : new XtcSampler(o.XtcProbability, o.XtcThreshold, o.MinKeep),
    };

    /// <inheritdoc/>
    public override void Apply(CandidateSet candidates, RandomSource random)
    {
        if (candidates.Active.Length < 2 || random.NextDouble() >= probability) return;
        candidates.Softmax();
        Span<Candidate> active = candidates.Active;
        int choices = 0;
        Candidate last = default;
        foreach (ref Candidate candidate in active)
        {
            if (candidate.Probability < threshold) continue;
            if (choices++ == 0 || CandidateSet.Precedes(last, candidate)) last = candidate;
        }
        if (choices < 2 || active.Length - (choices - 1) < minKeep) return;
        int kept = 0;
        for (int i = 0; i < active.Length; i++)
            if (active[i].Probability < threshold || active[i].Id == last.Id) active[kept++] = active[i];
        candidates.Truncate(kept);
    }
}
