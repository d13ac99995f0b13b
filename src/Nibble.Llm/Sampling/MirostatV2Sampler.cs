namespace Nibble.Llm.Sampling;

/// <summary>Mirostat 2: keeps the tokens whose surprise is at most mu.</summary>
public sealed class MirostatV2Sampler : MirostatSelector
{
    /// <summary>The table's line; its flags are with <see cref="MirostatSampler"/>.</summary>
    public static SamplerDescription Description { get; } = new()
    {
        Name = "mirostat_v2",
        Summary = "holds the surprise of the text near a target by a moving bound",
        Place = SamplerPlace.Last,
        Create = (o, _) => o.Mirostat == 2 ? new MirostatV2Sampler(o.MirostatEntropy, o.MirostatLearningRate) : null,
    };

    /// <summary>Makes the sampler.</summary>
    /// <param name="entropy">The target, tau, in bits.</param>
    /// <param name="learningRate">The learning rate, eta.</param>
    public MirostatV2Sampler(float entropy, float learningRate) : base(entropy, learningRate) { }

    private MirostatV2Sampler(MirostatV2Sampler other) : base(other) { }

    /// <inheritdoc/>
    public override void Apply(CandidateSet candidates, RandomSource random)
    {
        candidates.Softmax();
        Span<Candidate> active = candidates.Active;
        int kept = 0;
        foreach (ref Candidate candidate in active)
            if (-MathF.Log2(candidate.Probability) <= Mu) active[kept++] = candidate;
        if (kept == 0) candidates.KeepTop(1);
        else candidates.Truncate(kept);
        candidates.Softmax();
    }

    /// <inheritdoc/>
    public override Sampler Clone() => new MirostatV2Sampler(this);
}
