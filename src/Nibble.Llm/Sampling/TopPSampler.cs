namespace Nibble.Llm.Sampling;

/// <summary>Keeps the most probable tokens until their probabilities reach p (nucleus sampling, Holtzman et al., 2019).</summary>
public sealed class TopPSampler(float p, int minKeep) : Sampler
{
    /// <summary>The table's line.</summary>
    public static SamplerDescription Description { get; } = new()
    {
        Name = "top_p",
        Letter = 'p',
        Aliases = ["nucleus"],
        Summary = "keeps the most probable tokens up to a total probability",
        Parameters =
        [
            new NumberParameter<float>("--top-p", o => o.TopPSetting, 0, 1, "total probability of the most probable tokens to keep; 1: off") { MetadataKey = "general.sampling.top_p" },
        ],
        Create = (o, _) => o.TopP >= 1 ? null : new TopPSampler(o.TopP, o.MinKeep),
    };

    /// <inheritdoc/>
    public override bool KeepsBest => true;

    /// <inheritdoc/>
    public override void Apply(CandidateSet candidates, RandomSource random)
    {
        candidates.Softmax();
        if (!candidates.IsSorted && candidates.Active.Length > FirstTry)
        {
            // Most distributions reach p within few tokens, so the rest need not be sorted.
            int few = Count(candidates.Top(FirstTry));
            if (few > 0)
            {
                candidates.KeepTop(few);
                return;
            }
        }
        candidates.Sort();
        int keep = Count(candidates.Active);
        if (keep > 0) candidates.Truncate(keep);
    }

    private const int FirstTry = 256;

    // How many of the first candidates reach p, or 0 when all of them do not.
    private int Count(ReadOnlySpan<Candidate> sorted)
    {
        float total = 0;
        for (int i = 0; i < sorted.Length; i++)
        {
            total += sorted[i].Probability;
            if (total >= p && i + 1 >= minKeep) return i + 1;
        }
        return 0;
    }
}
