namespace Nibble.Llm.Sampling;

/// <summary>Forbids tokens further than n standard deviations of the logits below the highest (Tang et al., "Top-nσ: Not All Logits Are You Need", 2024).</summary>
/// <remarks>Like llama.cpp v0.5.0 it leaves the tokens among the candidates, with a logit of minus infinity.</remarks>
public sealed class TopNSigmaSampler(float n) : Sampler
{
    /// <summary>The table's line.</summary>
    public static SamplerDescription Description { get; } = new()
    {
        Name = "top_n_sigma",
        Letter = 's',
        Summary = "keeps tokens within n standard deviations of the highest logit",
        Parameters =
        [
            new NumberParameter<float>("--top-nsigma", o => o.TopNSigmaSetting, -1, float.MaxValue, "standard deviations below the highest logit to keep; 0 or below: off") { Aliases = ["--top-n-sigma"] },
        ],
        Create = (o, _) => o.TopNSigma <= 0 ? null : new TopNSigmaSampler(o.TopNSigma),
    };

    /// <inheritdoc/>
    public override bool KeepsBest => true;

    /// <inheritdoc/>
    public override void Apply(CandidateSet candidates, RandomSource random)
    {
        Span<Candidate> active = candidates.Active;
        if (active.Length <= 1) return;
        float max = candidates.MaxLogit();
        float sum = 0;
        int finite = 0;
        foreach (ref Candidate candidate in active)
        {
            if (candidate.Logit == float.NegativeInfinity) continue;
            sum += candidate.Logit;
            finite++;
        }
        float mean = sum / finite;
        float squares = 0;
        foreach (ref Candidate candidate in active)
        {
            if (candidate.Logit == float.NegativeInfinity) continue;
            double distance = candidate.Logit - mean;
            squares = (float)(squares + distance * distance);
        }
        float lowest = max - n * MathF.Sqrt(squares / finite);
        foreach (ref Candidate candidate in active)
            if (candidate.Logit < lowest) candidate.Logit = float.NegativeInfinity;
    }
}
