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
    private readonly Dictionary<ulong, Merge> _merges;
    private readonly Dictionary<string, int> _others = new(StringComparer.Ordinal); // keyed by bytes as Latin-1

    private readonly record struct Merge(uint Rank, int Merged);

    /// <param name="vocabulary">The tokens.</param>
    /// <param name="merges">Two pieces with a space between, the first merge first.</param>
    public MergeTable(Vocabulary vocabulary, PieceTable merges)
    {
        _vocabulary = vocabulary;
        _merges = new Dictionary<ulong, Merge>(merges.Count);
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
            Merge value = new((uint)rank, Symbol(joined.AsSpan(0, left.Length + right.Length)));
            _merges.TryAdd(Key(Symbol(left), Symbol(right)), value);
        }
    }

    /// <summary>The symbol of a spelling, or -1 where it is neither token nor part of a merge.</summary>
    public int Find(ReadOnlySpan<byte> piece)
    {
        int token = _vocabulary.Find(piece);
        return token >= 0 ? token : _others.GetValueOrDefault(Encoding.Latin1.GetString(piece), -1);
    }

    /// <inheritdoc/>
    public bool TryMerge(ReadOnlySpan<byte> text, int left, int right, out uint priority, out int merged)
    {
        bool found = _merges.TryGetValue(Key(left, right), out Merge merge);
        priority = merge.Rank;
        merged = merge.Merged;
        return found;
    }

    private static ulong Key(int left, int right) => (ulong)(uint)left << 32 | (uint)right;

    private int Symbol(ReadOnlySpan<byte> piece)
    {
        int token = _vocabulary.Find(piece);
        if (token >= 0) return token;
        ref int other = ref CollectionsMarshal.GetValueRefOrAddDefault(_others, Encoding.Latin1.GetString(piece), out bool exists);
        if (!exists) other = _vocabulary.Count + _others.Count - 1;
        return other;
    }
}
