namespace Nibble.Llm.Sampling;

/// <summary>Makes tokens of the recent text less likely: the repetition penalty of CTRL (Keskar et al., 2019), with negative logits multiplied, and the presence and frequency penalties of OpenAI's API.</summary>
public sealed class PenaltiesSampler : Sampler
{
    /// <summary>The table's line.</summary>
    public static SamplerDescription Description { get; } = new()
    {
        Name = "penalties",
        Letter = 'e',
        Summary = "makes tokens of the recent text less likely",
        Parameters =
        [
            new NumberParameter<int>("--repeat-last-n", o => o.RepeatLastNSetting, 0, SamplingLimits.HistoryTokens, "last tokens that the penalties look at; 0: off") { MetadataKey = "general.sampling.penalty_last_n" },
            new NumberParameter<float>("--repeat-penalty", o => o.RepeatPenaltySetting, SamplingLimits.Positive, float.MaxValue, "divisor for tokens in the text; 1: off") { MetadataKey = "general.sampling.penalty_repeat" },
            new NumberParameter<float>("--presence-penalty", o => o.PresencePenaltySetting, float.MinValue, float.MaxValue, "subtracted once for a token in the text; 0: off"),
            new NumberParameter<float>("--frequency-penalty", o => o.FrequencyPenaltySetting, float.MinValue, float.MaxValue, "subtracted for each time a token is in the text; 0: off"),
        ],
        Create = (o, context) => o.RepeatLastN == 0 || o is { RepeatPenalty: 1, FrequencyPenalty: 0, PresencePenalty: 0 }
            ? null
            : new PenaltiesSampler(context.VocabularySize, o.RepeatLastN, o.RepeatPenalty, o.FrequencyPenalty, o.PresencePenalty),
    };

    private readonly int[] _counts;
    private readonly TokenRing _history;
    private readonly float _repeat, _frequency, _presence;

    /// <summary>Makes the sampler; see <see cref="SamplingOptions"/> for the values.</summary>
    public PenaltiesSampler(int vocabularySize, int lastN, float repeat, float frequency, float presence)
    {
        _counts = new int[vocabularySize];
        _history = new TokenRing(lastN);
        (_repeat, _frequency, _presence) = (repeat, frequency, presence);
    }

    /// <inheritdoc/>
    public override void Apply(CandidateSet candidates, RandomSource random)
    {
        if (_history.Count == 0) return;
        foreach (ref Candidate candidate in candidates.Active)
        {
            int count = _counts[candidate.Id];
            if (count == 0) continue;
            float logit = candidate.Logit;
            logit = logit <= 0 ? logit * _repeat : logit / _repeat;
            candidate.Logit = logit - (count * _frequency + _presence);
        }
        candidates.IsSorted = false;
    }

    /// <inheritdoc/>
    public override void Accept(int id)
    {
        int gone = _history.Add(id);
        if (gone >= 0) _counts[gone]--;
        _counts[id]++;
    }

    /// <inheritdoc/>
    public override void Reset()
    {
        Array.Clear(_counts);
        _history.Clear();
    }

    /// <inheritdoc/>
    public override Sampler Clone()
    {
        PenaltiesSampler clone = new(_counts.Length, _history.Capacity, _repeat, _frequency, _presence);
        _counts.CopyTo(clone._counts, 0);
        _history.CopyTo(clone._history);
        return clone;
    }

    /// <inheritdoc/>
    public override void WriteState(BinaryWriter writer) => _history.Write(writer);

    /// <inheritdoc/>
    public override void ReadState(BinaryReader reader)
    {
        Reset();
        _history.Read(reader, _counts.Length, Accept);
    }
}
