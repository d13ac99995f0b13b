namespace Nibble.Llm.Sampling;

/// <summary>Keeps the tokens whose surprise lies nearest to the expected one, the entropy, until their probabilities exceed p (Meister et al., "Locally Typical Sampling", 2022).</summary>
public sealed class TypicalPSampler(float p, int minKeep) : Sampler
{
    /// <summary>The table's line.</summary>
    public static SamplerDescription Description { get; } = new()
    {
        Name = "typ_p",
        Letter = 'y',
        Aliases = ["typ", "typical", "typical_p", "typical-p"],
        Summary = "keeps the most typical tokens up to a total probability",
        Parameters =
        [
            new NumberParameter<float>("--typical", o => o.TypicalPSetting, 0, 1, "total probability of the most typical tokens to keep; 1: off") { Aliases = ["--typical-p"] },
        ],
        Create = (o, _) => o.TypicalP >= 1 ? null : new TypicalPSampler(o.TypicalP, o.MinKeep),
    };

    /// <inheritdoc/>
    public override void Apply(CandidateSet candidates, RandomSource random)
    {
        candidates.Sort(); // sums then run from high to low, as llama.cpp's do, and cuts fall where its do
        candidates.Softmax();
        float entropy = 0;
        foreach (ref Candidate candidate in candidates.Active)
            if (candidate.Probability > 0) entropy -= candidate.Probability * MathF.Log(candidate.Probability);
        candidates.SortByScore(new Surprise(entropy));

        ReadOnlySpan<Candidate> active = candidates.Active;
        float total = 0;
        int keep = 0;
        while (keep < active.Length)
        {
            total += active[keep++].Probability;
            if (total > p && keep >= minKeep) break;
        }
        candidates.Truncate(keep);
    }

    private readonly struct Surprise(float entropy) : ICandidateScore
    {
        public float Of(in Candidate candidate) => MathF.Abs(-MathF.Log(candidate.Probability) - entropy);
    }
}
