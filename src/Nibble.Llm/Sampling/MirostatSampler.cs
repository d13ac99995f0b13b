namespace Nibble.Llm.Sampling;

/// <summary>What both versions of Mirostat share (Basu et al., "Mirostat", 2020): a bound on surprise, mu, that each drawn token moves towards a target entropy.</summary>
public abstract class MirostatSelector : Selector
{
    private readonly float _entropy, _learningRate;

    private protected MirostatSelector(float entropy, float learningRate)
    {
        (_entropy, _learningRate) = (entropy, learningRate);
        Mu = 2 * entropy;
    }

    private protected MirostatSelector(MirostatSelector other) => (_entropy, _learningRate, Mu) = (other._entropy, other._learningRate, other.Mu);

    /// <summary>The highest surprise that a token may have now, in bits.</summary>
    public float Mu { get; private set; }

    /// <inheritdoc/>
    public override int Select(CandidateSet candidates, RandomSource random)
    {
        int selected = base.Select(candidates, random);
        Observe(candidates.Active[selected].Probability);
        return selected;
    }

    /// <summary>Moves <see cref="Mu"/> for a drawn token.</summary>
    /// <param name="probability">The token's among the candidates left.</param>
    public void Observe(float probability) => Mu -= _learningRate * (-MathF.Log2(probability) - _entropy);

    /// <inheritdoc/>
    public override void Reset() => Mu = 2 * _entropy;

    /// <inheritdoc/>
    public override void WriteState(BinaryWriter writer) => writer.Write(Mu);

    /// <inheritdoc/>
    public override void ReadState(BinaryReader reader)
    {
        float mu = reader.ReadSingle();
        if (!float.IsFinite(mu)) throw new InvalidDataException($"The sampler state holds a Mirostat bound of {mu}; it must be finite. The state is damaged.");
        Mu = mu;
    }
}

/// <summary>Mirostat 1: estimates how fast probabilities fall with rank (Zipf's exponent) and keeps the k tokens whose expected surprise is mu.</summary>
public sealed class MirostatSampler : MirostatSelector
{
    /// <summary>The table's line.</summary>
    public static SamplerDescription Description { get; } = new()
    {
        Name = "mirostat",
        Summary = "holds the surprise of the text near a target by a moving top-k",
        Place = SamplerPlace.Last,
        Parameters =
        [
            new NumberParameter<int>("--mirostat", o => o.MirostatSetting, 0, 2, "Mirostat's version; with 1 or 2 only temperature and logit bias apply besides; 0: off") { MetadataKey = "general.sampling.mirostat" },
            new NumberParameter<float>("--mirostat-lr", o => o.MirostatLearningRateSetting, 0, float.MaxValue, "Mirostat's learning rate, eta") { MetadataKey = "general.sampling.mirostat_eta" },
            new NumberParameter<float>("--mirostat-ent", o => o.MirostatEntropySetting, 0, float.MaxValue, "Mirostat's target entropy, tau, in bits") { MetadataKey = "general.sampling.mirostat_tau" },
        ],
        Create = (o, _) => o.Mirostat == 1 ? new MirostatSampler(o.MirostatEntropy, o.MirostatLearningRate) : null,
    };

    // How many of the most probable tokens the exponent is estimated from; the paper's and llama.cpp's number.
    private const int EstimateTokens = 100;

    /// <summary>Makes the sampler.</summary>
    /// <param name="entropy">The target, tau, in bits.</param>
    /// <param name="learningRate">The learning rate, eta.</param>
    public MirostatSampler(float entropy, float learningRate) : base(entropy, learningRate) { }

    private MirostatSampler(MirostatSampler other) : base(other) { }

    /// <inheritdoc/>
    public override void Apply(CandidateSet candidates, RandomSource random)
    {
        candidates.Softmax();
        candidates.KeepTop(TopK(candidates.Top(EstimateTokens), candidates.Active.Length, candidates.VocabularySize));
        candidates.Softmax();
    }

    /// <inheritdoc/>
    public override Sampler Clone() => new MirostatSampler(this);

    private int TopK(ReadOnlySpan<Candidate> top, int count, int vocabularySize)
    {
        float products = 0, squares = 0;
        for (int i = 0; i + 1 < top.Length && top[i + 1].Probability > 0; i++)
        {
            float rank = MathF.Log((float)(i + 2) / (i + 1));
            products += rank * MathF.Log(top[i].Probability / top[i + 1].Probability);
            squares += rank * rank;
        }
        float exponent = products / squares;
        float above = exponent - 1;
        float k = MathF.Pow(above * MathF.Pow(2, Mu) / (1 - MathF.Pow(vocabularySize, -above)), 1 / exponent);
        // Equal probabilities give no exponent (infinity or NaN): nothing sets the tokens apart, so all stay.
        return k < count ? Math.Max((int)k, 1) : count;
    }
}
