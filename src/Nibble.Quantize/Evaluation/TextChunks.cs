using Nibble.Llm.Sessions;

namespace Nibble.Quantize.Evaluation;

/// <summary>A text cut into whole chunks, each evaluated alone, of which the predictions of the second half count.</summary>
/// <remarks>As llama.cpp v0.5.0's perplexity tool cuts. Where the vocabulary asks for a BOS, it replaces each chunk's first id; what is left at the end is dropped.</remarks>
internal readonly ref struct TextChunks
{
    private readonly ReadOnlySpan<int> _ids;
    private readonly int? _bos;

    /// <summary>Cuts a text.</summary>
    /// <param name="session">A session that will evaluate the chunks.</param>
    /// <param name="ids">The text, without BOS.</param>
    /// <param name="chunkTokens">Ids of a chunk, at least 4.</param>
    /// <param name="bos">The id that replaces each chunk's first, or null.</param>
    /// <exception cref="ArgumentException">The text is shorter than a chunk, or the chunk does not fit into the session.</exception>
    public TextChunks(Session session, ReadOnlySpan<int> ids, int chunkTokens, int? bos)
    {
        ArgumentNullException.ThrowIfNull(session);
        if (chunkTokens < 4 || chunkTokens > session.Capacity)
            throw new ArgumentOutOfRangeException(nameof(chunkTokens), $"chunks of {chunkTokens} ids were asked for; the session takes 4 to {session.Capacity}.");
        Count = ids.Length / chunkTokens;
        if (Count == 0)
            throw new ArgumentException($"the text has {ids.Length} ids; at least one chunk of {chunkTokens} is needed. Use a longer text or a smaller chunk.", nameof(ids));
        _ids = ids;
        _bos = bos;
        Tokens = chunkTokens;
    }

    /// <summary>Whole chunks.</summary>
    public int Count { get; }

    /// <summary>Ids of a chunk.</summary>
    public int Tokens { get; }

    /// <summary>The first position of a chunk whose prediction counts.</summary>
    public int First => Tokens / 2;

    /// <summary>Predictions of a chunk that count: from <see cref="First"/> to the one before the last, whose next id is known.</summary>
    public int Predictions => Tokens - 1 - First;

    /// <summary>Copies a chunk, with the BOS in its place.</summary>
    /// <param name="index">0 to <see cref="Count"/> - 1.</param>
    /// <param name="chunk">[tokens], overwritten.</param>
    public void CopyTo(int index, Span<int> chunk)
    {
        _ids.Slice(index * Tokens, Tokens).CopyTo(chunk);
        if (_bos is { } id) chunk[0] = id;
    }
}
