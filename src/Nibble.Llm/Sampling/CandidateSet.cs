namespace Nibble.Llm.Sampling;

/// <summary>The candidates of one position, in buffers that live as long as the chain; no call allocates.</summary>
/// <remarks>Candidates have one order everywhere: higher logit first, lower id first among equal logits. Sums are float32, in the order the candidates lie,
/// which is what llama.cpp v0.5.0 does, so that cuts at a cumulative probability fall at the same candidate.</remarks>
public sealed class CandidateSet
{
    private readonly Candidate[] _items;
    private readonly Candidate[] _top;
    private readonly ulong[] _keys;
    private int _count;

    /// <summary>Makes buffers for a vocabulary.</summary>
    /// <param name="vocabularySize">The number of logits of a position; at least 1.</param>
    public CandidateSet(int vocabularySize)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(vocabularySize, 1);
        _items = new Candidate[vocabularySize];
        _keys = new ulong[vocabularySize];
        _top = new Candidate[Math.Min(vocabularySize, Math.Max(1024, vocabularySize / 4))];
    }

    /// <summary>The number of logits of a position.</summary>
    public int VocabularySize => _items.Length;

    /// <summary>The candidates left. A sampler that changes a logit here, other than by an order-preserving map, sets <see cref="IsSorted"/> to false.</summary>
    public Span<Candidate> Active => _items.AsSpan(0, _count);

    /// <summary>Whether <see cref="Active"/> lies in the order of candidates.</summary>
    public bool IsSorted { get; set; }

    /// <summary>Starts a position: every token becomes a candidate, in the order of ids.</summary>
    /// <param name="logits">[vocabulary] logits.</param>
    /// <exception cref="ArgumentException">The length differs from the vocabulary's, or a logit is NaN or plus infinity.</exception>
    public void Fill(ReadOnlySpan<float> logits)
    {
        if (logits.Length != _items.Length)
            throw new ArgumentException($"{logits.Length} logits were given for a vocabulary of {_items.Length} tokens.", nameof(logits));
        for (int id = 0; id < logits.Length; id++)
        {
            float logit = logits[id];
            if (!(logit < float.PositiveInfinity))
                throw new ArgumentException($"The logit of token {id} is {logit}; a logit is finite or minus infinity. The model's weights or its computation are damaged.", nameof(logits));
            _items[id] = new Candidate { Id = id, Logit = logit };
        }
        _count = logits.Length;
        IsSorted = false;
    }

    /// <summary>Starts a position with one token only.</summary>
    /// <param name="id">Its id.</param>
    /// <param name="logit">Its logit.</param>
    /// <exception cref="ArgumentOutOfRangeException">The token is not in the vocabulary.</exception>
    /// <exception cref="ArgumentException">The logit is no finite number.</exception>
    public void Fill(int id, float logit)
    {
        if ((uint)id >= (uint)VocabularySize) throw new ArgumentOutOfRangeException(nameof(id), id, $"Token {id} is not in the vocabulary, whose ids are 0 to {VocabularySize - 1}.");
        if (!float.IsFinite(logit)) throw new ArgumentException($"The logit of token {id} is {logit}; the only candidate's logit is finite.", nameof(logit));
        _items[0] = new Candidate { Id = id, Logit = logit };
        _count = 1;
        IsSorted = true;
    }

    /// <summary>Keeps the first <paramref name="count"/> of <see cref="Active"/>.</summary>
    public void Truncate(int count)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, _count);
        _count = count;
    }

    /// <summary>Puts all candidates in order.</summary>
    public void Sort()
    {
        if (IsSorted) return;
        Span<ulong> keys = _keys.AsSpan(0, _count);
        for (int i = 0; i < keys.Length; i++) keys[i] = Key(_items[i]);
        keys.Sort(Active);
        IsSorted = true;
    }

    /// <summary>Orders the candidates by a score, lowest first, lower id first among equal scores.</summary>
    /// <param name="score">Gives each candidate's score, 0 or above.</param>
    public void SortByScore<TScore>(TScore score) where TScore : struct, ICandidateScore
    {
        Span<ulong> keys = _keys.AsSpan(0, _count);
        // The bits of floats that are not negative sort as the floats do.
        for (int i = 0; i < keys.Length; i++) keys[i] = (ulong)BitConverter.SingleToUInt32Bits(score.Of(_items[i])) << 32 | (uint)_items[i].Id;
        keys.Sort(Active);
        IsSorted = false;
    }

    /// <summary>Keeps the <paramref name="k"/> first candidates in order; all of them, as they lie, when there are no more.</summary>
    public void KeepTop(int k)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(k, 1);
        if (k >= _count) return;
        if (!IsSorted)
        {
            if (k <= _top.Length && k <= _count / 4)
            {
                Top(k).CopyTo(_items);
                IsSorted = true;
            }
            else
            {
                Sort();
            }
        }
        _count = k;
    }

    /// <summary>A copy of the first candidates in order, valid until the next call; <see cref="Active"/> stays as it is.</summary>
    /// <param name="k">How many, at least 1; no more than 1024 or a quarter of the vocabulary, whichever is more.</param>
    public ReadOnlySpan<Candidate> Top(int k)
    {
        k = Math.Min(k, _count);
        ArgumentOutOfRangeException.ThrowIfLessThan(k, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(k, _top.Length);
        if (IsSorted)
        {
            Active[..k].CopyTo(_top);
            return _top.AsSpan(0, k);
        }

        // A heap of the k best so far with the worst of them at its root: one pass, and most candidates cost one comparison.
        Span<ulong> keys = _keys.AsSpan(0, k);
        Span<Candidate> top = _top.AsSpan(0, k);
        ReadOnlySpan<Candidate> all = Active;
        for (int i = 0; i < k; i++)
        {
            top[i] = all[i];
            keys[i] = Key(all[i]);
        }
        for (int i = k / 2 - 1; i >= 0; i--) SiftDown(keys, top, i);
        for (int i = k; i < all.Length; i++)
        {
            if (all[i].Logit < top[0].Logit) continue;
            ulong key = Key(all[i]);
            if (key >= keys[0]) continue;
            keys[0] = key;
            top[0] = all[i];
            SiftDown(keys, top, 0);
        }
        keys.Sort(top);
        return top;
    }

    /// <summary>Sets the candidates' probabilities from their logits, for a sampler that cuts by them.</summary>
    /// <exception cref="InvalidOperationException">No candidate can be drawn.</exception>
    public void Softmax()
    {
        float max = MaxLogit(), sum = 0;
        foreach (ref Candidate candidate in Active) sum += candidate.Probability = MathF.Exp(candidate.Logit - max);
        foreach (ref Candidate candidate in Active) candidate.Probability /= sum;
    }

    /// <summary>Sets the candidates' probabilities from their logits, for the draw: like <see cref="Softmax"/>, with the sum in float64.</summary>
    /// <exception cref="InvalidOperationException">No candidate can be drawn.</exception>
    public void SoftmaxForDraw()
    {
        float max = MaxLogit();
        double sum = 0;
        foreach (ref Candidate candidate in Active) sum += candidate.Probability = MathF.Exp(candidate.Logit - max);
        foreach (ref Candidate candidate in Active) candidate.Probability = (float)(candidate.Probability / sum);
    }

    /// <summary>The highest logit.</summary>
    /// <exception cref="InvalidOperationException">No candidate can be drawn.</exception>
    public float MaxLogit()
    {
        ReadOnlySpan<Candidate> active = Active;
        float max = float.NegativeInfinity;
        int end = IsSorted ? Math.Min(1, active.Length) : active.Length;
        for (int i = 0; i < end; i++) max = Math.Max(max, active[i].Logit);
        if (max == float.NegativeInfinity)
            throw new InvalidOperationException("No token can be drawn: every logit is minus infinity. Remove a logit bias or constraint that forbids them all.");
        return max;
    }

    /// <summary>Whether <paramref name="a"/> comes before <paramref name="b"/> in the order of candidates.</summary>
    public static bool Precedes(in Candidate a, in Candidate b) => a.Logit > b.Logit || a.Logit == b.Logit && a.Id < b.Id;

    // Ascending keys are the order of candidates: the logit's bits, flipped so that unsigned comparison runs from high to low, then the id.
    private static ulong Key(in Candidate candidate)
    {
        int bits = BitConverter.SingleToInt32Bits(candidate.Logit + 0f); // -0 becomes +0
        uint ascending = (uint)(bits ^ (bits >> 31 | int.MinValue));
        return (ulong)~ascending << 32 | (uint)candidate.Id;
    }

    private static void SiftDown(Span<ulong> keys, Span<Candidate> items, int at)
    {
        ulong key = keys[at];
        Candidate item = items[at];
        while (true)
        {
            int child = 2 * at + 1;
            if (child >= keys.Length) break;
            if (child + 1 < keys.Length && keys[child + 1] > keys[child]) child++;
            if (keys[child] <= key) break;
            keys[at] = keys[child];
            items[at] = items[child];
            at = child;
        }
        keys[at] = key;
        items[at] = item;
    }
}

/// <summary>A score to order candidates by.</summary>
public interface ICandidateScore
{
    /// <summary>The score of a candidate: 0 or above, infinity included.</summary>
    float Of(in Candidate candidate);
}
