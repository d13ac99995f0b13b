namespace Nibble.Llm.Sampling;

/// <summary>One step of a <see cref="SamplerChain"/>: it removes candidates or changes their logits.</summary>
public abstract class Sampler
{
    /// <summary>Works on the candidates of one position. Allocates nothing.</summary>
    public abstract void Apply(CandidateSet candidates, RandomSource random);

    /// <summary>Whether the first candidate in order always stays the first one, and no random number is drawn.</summary>
    public virtual bool KeepsBest => false;

    /// <summary>Whether it leaves the first candidate in order alone.</summary>
    public virtual bool IsGreedy => false;

    /// <summary>Learns that a token now stands in the text, be it the prompt's or a drawn one.</summary>
    public virtual void Accept(int id) { }

    /// <summary>Forgets the text.</summary>
    public virtual void Reset() { }

    /// <summary>A sampler that continues as this one does, apart from it. A sampler without state may give itself.</summary>
    public virtual Sampler Clone() => this;

    /// <summary>Writes what <see cref="ReadState"/> needs to continue; settings are not part of it.</summary>
    public virtual void WriteState(BinaryWriter writer) { }

    /// <summary>Restores what <see cref="WriteState"/> wrote.</summary>
    /// <exception cref="InvalidDataException">The state is not of such a sampler.</exception>
    public virtual void ReadState(BinaryReader reader) { }
}

/// <summary>The last step of a chain. Its <see cref="Sampler.Apply"/> leaves normalized probabilities.</summary>
public abstract class Selector : Sampler
{
    /// <summary>Draws one of the candidates by their probabilities, with one random number.</summary>
    /// <returns>The index in <see cref="CandidateSet.Active"/>.</returns>
    public virtual int Select(CandidateSet candidates, RandomSource random)
    {
        ReadOnlySpan<Candidate> active = candidates.Active;
        double sum = 0;
        foreach (ref readonly Candidate candidate in active) sum += candidate.Probability;
        double target = random.NextDouble() * sum;
        double running = 0;
        int last = 0;
        for (int i = 0; i < active.Length; i++)
        {
            if (active[i].Probability == 0) continue;
            running += active[i].Probability;
            last = i;
            if (running > target) break;
        }
        return last;
    }
}
