using System.Numerics;
using System.Runtime.InteropServices;
using System.Text;

namespace Nibble.Llm.Tokenizers;

/// <summary>
/// The merges of byte-pair encoding by the numbers of their symbols. A symbol is a token; what merges form without being a token gets a
/// number behind the last token's.
/// </summary>
internal sealed class MergeTable : IMergeRules
{
    private readonly Vocabulary _vocabulary;
    private readonly Dictionary<string, int> _others = new(StringComparer.Ordinal); // keyed by bytes as Latin-1

    // Open-addressed. The hash must tell (a, a) from (b, b), which the one of a Dictionary with 64-bit keys does not.
    private readonly Merge[] _slots;
    private readonly int _shift;

    private readonly record struct Merge(ulong Key, uint Rank, int Merged);

    /// <param name="vocabulary">The tokens.</param>
    /// <param name="merges">Two pieces with a space between, the first merge first. Of equal ones the first counts.</param>
    /// <exception cref="TokenizerException">A merge is not two pieces.</exception>
    public MergeTable(Vocabulary vocabulary, PieceTable merges)
    {
        _vocabulary = vocabulary;
        _slots = new Merge[BitOperations.RoundUpToPowerOf2((uint)merges.Count * 2 + 2)];
        Array.Fill(_slots, new Merge(EmptyKey, 0, 0));
        _shift = 64 - BitOperations.Log2((uint)_slots.Length);
        byte[] joined = new byte[merges.LongestBytes];
        for (int rank = 0; rank < merges.Count; rank++)
        {
            // The first byte may be a space of the left piece.
            ReadOnlySpan<byte> merge = merges[rank];
            int space = merge.Length > 1 ? merge[1..].IndexOf((byte)' ') + 1 : 0;
            if (space <= 0) throw new TokenizerException($"tokenizer.ggml.merges holds '{merges.Text(rank)}' at {rank}; a merge is two pieces with a space between.");
            ReadOnlySpan<byte> left = merge[..space], right = merge[(space + 1)..];
            left.CopyTo(joined);
            right.CopyTo(joined.AsSpan(space));
            int merged = Symbol(joined.AsSpan(0, left.Length + right.Length));
            ulong key = Key(Symbol(left), Symbol(right));
            ref Merge slot = ref Slot(key);
            if (slot.Key == EmptyKey) slot = new Merge(key, (uint)rank, merged);
        }
    }

    // Two unknown symbols, which no merge has.
    private const ulong EmptyKey = ulong.MaxValue;

    /// <summary>The symbol of a spelling, or -1 where it is neither token nor part of a merge.</summary>
    public int Find(ReadOnlySpan<byte> piece)
    {
        int token = _vocabulary.Find(piece);
        return token >= 0 ? token : _others.GetValueOrDefault(Encoding.Latin1.GetString(piece), -1);
    }

    /// <inheritdoc/>
    public bool TryMerge(ReadOnlySpan<byte> text, int left, int right, out uint priority, out int merged)
    {
        ulong key = Key(left, right);
        ref Merge slot = ref Slot(key);
        priority = slot.Rank;
        merged = slot.Merged;
        return slot.Key == key && key != EmptyKey;
    }

    private static ulong Key(int left, int right) => (ulong)(uint)left << 32 | (uint)right;

    // Where a key lies or would lie.
    private ref Merge Slot(ulong key)
    {
        int index = (int)(key * 0x9E3779B97F4A7C15 >> _shift);
        while (_slots[index].Key != key && _slots[index].Key != EmptyKey) index = (index + 1) & (_slots.Length - 1);
        return ref _slots[index];
    }

    private int Symbol(ReadOnlySpan<byte> piece)
    {
        int token = _vocabulary.Find(piece);
        if (token >= 0) return token;
        ref int other = ref CollectionsMarshal.GetValueRefOrAddDefault(_others, Encoding.Latin1.GetString(piece), out bool exists);
        if (!exists) other = _vocabulary.Count + _others.Count - 1;
        return other;
    }
}
