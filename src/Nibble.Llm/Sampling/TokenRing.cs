namespace Nibble.Llm.Sampling;

/// <summary>The last tokens of a text, up to a fixed number.</summary>
internal sealed class TokenRing(int capacity)
{
    private readonly int[] _tokens = new int[capacity];
    private int _next;

    public int Capacity => _tokens.Length;

    public int Count { get; private set; }

    /// <summary>The token <paramref name="distance"/> places before the last one; 0 is the last.</summary>
    public int FromEnd(int distance)
    {
        int at = _next - 1 - distance;
        return _tokens[at < 0 ? at + _tokens.Length : at];
    }

    /// <summary>Appends a token; where the ring is full, the oldest goes.</summary>
    /// <returns>The token that went, or -1.</returns>
    public int Add(int token)
    {
        int gone = -1;
        if (Count == _tokens.Length) gone = _tokens[_next];
        else Count++;
        _tokens[_next] = token;
        if (++_next == _tokens.Length) _next = 0;
        return gone;
    }

    public void Clear() => Count = _next = 0;

    public void CopyTo(TokenRing other)
    {
        _tokens.CopyTo(other._tokens, 0);
        other._next = _next;
        other.Count = Count;
    }

    /// <summary>Writes the count, then the tokens, oldest first.</summary>
    public void Write(BinaryWriter writer)
    {
        writer.Write(Count);
        for (int i = Count - 1; i >= 0; i--) writer.Write(FromEnd(i));
    }

    /// <summary>Reads what <see cref="Write"/> wrote and hands each token, oldest first, to <paramref name="accept"/>.</summary>
    /// <exception cref="InvalidDataException">The count does not fit the ring, or a token not the vocabulary.</exception>
    public void Read(BinaryReader reader, int vocabularySize, Action<int> accept)
    {
        int count = reader.ReadInt32();
        if ((uint)count > (uint)Capacity)
            throw new InvalidDataException($"The sampler state holds {count} past tokens; this chain remembers {Capacity}. The state is damaged or of other settings.");
        for (int i = 0; i < count; i++)
        {
            int id = reader.ReadInt32();
            if ((uint)id >= (uint)vocabularySize)
                throw new InvalidDataException($"The sampler state holds token {id}; the vocabulary has the ids 0 to {vocabularySize - 1}. The state is damaged or of another model.");
            accept(id);
        }
    }
}
