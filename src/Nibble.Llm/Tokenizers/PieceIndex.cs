using System.Numerics;

namespace Nibble.Llm.Tokenizers;

/// <summary>Finds the number of a piece by its bytes: an open-addressed table over a <see cref="PieceTable"/>. Lookups allocate nothing.</summary>
internal sealed class PieceIndex
{
    private readonly PieceTable _pieces;
    private readonly int[] _slots; // number + 1, 0 where empty
    private readonly int _longestBytes;

    /// <param name="pieces">The pieces. Of equal ones the last is found, as in llama.cpp.</param>
    public PieceIndex(PieceTable pieces)
    {
        _pieces = pieces;
        _longestBytes = pieces.LongestBytes;
        _slots = new int[BitOperations.RoundUpToPowerOf2((uint)pieces.Count * 2 + 1)];
        for (int i = 0; i < pieces.Count; i++)
        {
            ReadOnlySpan<byte> piece = pieces[i];
            uint slot = Slot(Hash(piece));
            while (_slots[slot] != 0 && !pieces[_slots[slot] - 1].SequenceEqual(piece)) slot = Next(slot);
            if (_slots[slot] != 0) Duplicates++;
            _slots[slot] = i + 1;
        }
    }

    /// <summary>How many pieces are hidden by a later equal one.</summary>
    public int Duplicates { get; }

    /// <summary>The number of a piece, or -1.</summary>
    public int Find(ReadOnlySpan<byte> bytes) => bytes.Length > _longestBytes ? -1 : Find(bytes, Hash(bytes));

    /// <summary>The number of the longest piece that a text starts with, or -1.</summary>
    /// <param name="text">The text.</param>
    /// <param name="isAllowed">Which pieces count.</param>
    /// <param name="lengthBytes">The length of that piece.</param>
    public int FindLongestPrefix(ReadOnlySpan<byte> text, Func<int, bool> isAllowed, out int lengthBytes)
    {
        int limit = Math.Min(text.Length, _longestBytes);
        Span<uint> hashes = limit <= 256 ? stackalloc uint[256] : new uint[limit];
        uint hash = HashSeed;
        for (int i = 0; i < limit; i++) hashes[i] = hash = Step(hash, text[i]);
        for (lengthBytes = limit; lengthBytes > 0; lengthBytes--)
        {
            int found = Find(text[..lengthBytes], hashes[lengthBytes - 1]);
            if (found >= 0 && isAllowed(found)) return found;
        }

        return -1;
    }

    private const uint HashSeed = 2166136261;

    private static uint Step(uint hash, byte value) => (hash ^ value) * 16777619;

    private static uint Hash(ReadOnlySpan<byte> bytes)
    {
        uint hash = HashSeed;
        foreach (byte b in bytes) hash = Step(hash, b);
        return hash;
    }

    // The multiplication spreads the low bits of FNV-1a over all.
    private uint Slot(uint hash) => (hash * 2654435769 ^ hash >> 15) & (uint)(_slots.Length - 1);

    private uint Next(uint slot) => (slot + 1) & (uint)(_slots.Length - 1);

    private int Find(ReadOnlySpan<byte> bytes, uint hash)
    {
        for (uint slot = Slot(hash); _slots[slot] != 0; slot = Next(slot))
            if (_pieces[_slots[slot] - 1].SequenceEqual(bytes)) return _slots[slot] - 1;
        return -1;
    }
}
