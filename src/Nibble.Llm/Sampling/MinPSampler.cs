namespace Nibble.Llm.Sampling;

/// <summary>Keeps the tokens at least p times as probable as the most probable one (Nguyen et al., 2024).</summary>
public sealed class MinPSampler(float p, int minKeep) : Sampler
{
    /// <summary>The table's line.</summary>
    public static SamplerDescription Description { get; } = new()
    {
        Name = "min_p",
        Letter = 'm',
        Summary = "keeps tokens not much less probable than the most probable",
        Parameters =
        [
            new NumberParameter<float>("--min-p", o => o.MinPSetting, 0, 1, "least probability to keep, as a fraction of the highest; 0: off") { MetadataKey = "general.sampling.min_p" },
        ],
        Create = (o, _) => o.MinP <= 0 ? null : new MinPSampler(o.MinP, o.MinKeep),
    };

    /// <inheritdoc/>
    public override bool KeepsBest => true;

    /// <inheritdoc/>
    public override void Apply(CandidateSet candidates, RandomSource random)
    {
        Span<Candidate> active = candidates.Active;
        float lowest = candidates.MaxLogit() + MathF.Log(p);
        int enough = 0;
        foreach (ref Candidate candidate in active)
            if (candidate.Logit >= lowest) enough++;
        if (enough < minKeep)
        {
            candidates.KeepTop(Math.Min(minKeep, active.Length));
            return;
        }
        int kept = 0;
        for (int i = 0; i < active.Length; i++)
            if (active[i].Logit >= lowest) active[kept++] = active[i];
        candidates.Truncate(kept);
    }
}
