namespace Nibble.Llm.Tokenizers;

/// <summary>Remembers the ids of words. Bounded: a word takes the place of another with the same hash. Safe for several threads, without locks.</summary>
internal sealed class WordCache
{
    private const int Slots = 1 << 14;

    /// <summary>Longer words are not kept; they are rare.</summary>
    public const int LongestBytes = 64;

    private readonly Entry?[] _entries = new Entry?[Slots];

    private sealed record Entry(byte[] Word, int[] Ids);

    /// <summary>Appends the ids of a word that is known.</summary>
    public bool TryAppend(ReadOnlySpan<byte> word, List<int> ids)
    {
        if (Volatile.Read(ref _entries[Slot(word)]) is not { } entry || !word.SequenceEqual(entry.Word)) return false;
        ids.AddRange(entry.Ids);
        return true;
    }

    /// <summary>Remembers the ids of a word.</summary>
    public void Add(ReadOnlySpan<byte> word, ReadOnlySpan<int> ids) => Volatile.Write(ref _entries[Slot(word)], new Entry(word.ToArray(), ids.ToArray()));

    private static int Slot(ReadOnlySpan<byte> word)
    {
        HashCode hash = default;
        hash.AddBytes(word);
        return hash.ToHashCode() & (Slots - 1);
    }
}
