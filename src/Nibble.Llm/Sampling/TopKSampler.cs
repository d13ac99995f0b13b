namespace Nibble.Llm.Sampling;

/// <summary>Keeps the k tokens of highest logit (Fan et al., 2018).</summary>
public sealed class TopKSampler(int k) : Sampler
{
    /// <summary>The table's line.</summary>
    public static SamplerDescription Description { get; } = new()
    {
        Name = "top_k",
        Letter = 'k',
        Summary = "keeps the k tokens of highest logit",
        Parameters =
        [
            new NumberParameter<int>("--top-k", o => o.TopKSetting, -1, int.MaxValue, "tokens of highest logit to keep; 0 or -1: off") { MetadataKey = "general.sampling.top_k" },
        ],
        Create = (o, _) => o.TopK <= 0 ? null : new TopKSampler(o.TopK),
    };

    /// <inheritdoc/>
    public override bool KeepsBest => true;

    /// <inheritdoc/>
    public override bool IsGreedy => k == 1;

    /// <inheritdoc/>
    public override void Apply(CandidateSet candidates, RandomSource random) => candidates.KeepTop(k);
}
