using System.Buffers;
using System.Runtime.InteropServices;

namespace Nibble.Llm.Tokenizers;

/// <summary>
/// Cuts text at its special tokens. The longest tokens (in bytes) take their places first, anywhere in the text, then the next shorter
/// ones in what is left, from left to right each. One pass over a trie finds the longest candidate of every place; a candidate whose
/// place is partly taken gives way to the next shorter one. So the time is linear in the length of the text.
/// </summary>
internal sealed class SpecialTokenMatcher
{
    private readonly Vocabulary _vocabulary;
    private readonly int[] _tokens; // longest first
    private readonly int[] _lengths;
    private readonly bool[] _isControl;
    private readonly Dictionary<int, int> _edges = []; // node << 8 | byte -> node; the root is 0
    private readonly List<int> _orderOfNode = [-1]; // index into _tokens of the token that ends at a node
    private readonly List<int> _shorter = []; // per token: index of the longest token that is a proper prefix of it, or -1
    private readonly SearchValues<byte> _firstBytes;

    public SpecialTokenMatcher(Vocabulary vocabulary)
    {
        const TokenAttributes Unspoken = TokenAttributes.Control | TokenAttributes.Unknown;
        _vocabulary = vocabulary;
        List<int> tokens = [];
        for (int id = 0; id < vocabulary.Count; id++)
            if (vocabulary.Pieces[id].Length > 0 && (vocabulary.Attributes(id) & (Unspoken | TokenAttributes.UserDefined)) != 0) tokens.Add(id);
        _tokens = [.. tokens.OrderByDescending(id => vocabulary.Pieces[id].Length)];
        _lengths = Array.ConvertAll(_tokens, id => vocabulary.Pieces[id].Length);
        _isControl = Array.ConvertAll(_tokens, id => (vocabulary.Attributes(id) & Unspoken) != 0);
        HashSet<byte> firstBytes = [];
        for (int order = 0; order < _tokens.Length; order++)
        {
            firstBytes.Add(vocabulary.Pieces[_tokens[order]][0]);
            Insert(order);
        }

        for (int order = 0; order < _tokens.Length; order++) _shorter.Add(FindShorter(order));
        _firstBytes = SearchValues.Create([.. firstBytes]);
    }

    /// <summary>Cuts a text.</summary>
    /// <param name="utf8">The text.</param>
    /// <param name="literals">Where control tokens count; user-defined ones count everywhere.</param>
    /// <param name="fragments">Gets the parts in order. White space that a token strips belongs to none.</param>
    public void Split(ReadOnlySpan<byte> utf8, LiteralRanges literals, List<TextFragment> fragments)
    {
        fragments.Clear();
        if (utf8.Length == 0) return;
        List<int>?[] candidates = FindCandidates(utf8, literals);
        byte[] taken = ArrayPool<byte>.Shared.Rent(utf8.Length);
        Span<byte> isTaken = taken.AsSpan(0, utf8.Length);
        isTaken.Clear();
        List<TextFragment> found = [];
        for (int order = 0; order < candidates.Length; order++)
            if (candidates[order] is { } places) Place(utf8, order, places, candidates, literals, isTaken, found);
        ArrayPool<byte>.Shared.Return(taken);

        found.Sort((a, b) => a.StartBytes.CompareTo(b.StartBytes));
        int start = 0;
        foreach (TextFragment part in found)
        {
            if (part.StartBytes > start) fragments.Add(new TextFragment(start, part.StartBytes, -1));
            if (part.TokenId >= 0) fragments.Add(part);
            start = part.EndBytes;
        }

        if (start < utf8.Length) fragments.Add(new TextFragment(start, utf8.Length, -1));
    }

    // The white space of C's isspace.
    private static bool IsSpace(byte value) => value is (byte)' ' or (>= 9 and <= 13);

    private void Insert(int order)
    {
        int node = 0;
        foreach (byte b in _vocabulary.Pieces[_tokens[order]])
        {
            ref int next = ref CollectionsMarshal.GetValueRefOrAddDefault(_edges, node << 8 | b, out bool exists);
            if (!exists)
            {
                next = _orderOfNode.Count;
                _orderOfNode.Add(-1);
            }

            node = next;
        }

        _orderOfNode[node] = order;
    }

    private int FindShorter(int order)
    {
        ReadOnlySpan<byte> piece = _vocabulary.Pieces[_tokens[order]];
        int node = 0, shorter = -1;
        foreach (byte b in piece[..^1])
        {
            node = _edges[node << 8 | b];
            if (_orderOfNode[node] >= 0) shorter = _orderOfNode[node];
        }

        return shorter;
    }

    // Per token the places where it is the longest that may stand, ascending.
    private List<int>?[] FindCandidates(ReadOnlySpan<byte> utf8, LiteralRanges literals)
    {
        List<int>?[] candidates = new List<int>?[_tokens.Length];
        for (int start = 0; start < utf8.Length; start++)
        {
            int skip = utf8[start..].IndexOfAny(_firstBytes);
            if (skip < 0) break;
            start += skip;
            int node = 0, longest = -1;
            for (int i = start; i < utf8.Length && _edges.TryGetValue(node << 8 | utf8[i], out node); i++)
                if (_orderOfNode[node] >= 0) longest = _orderOfNode[node];
            longest = Allowed(longest, start, literals);
            if (longest >= 0) (candidates[longest] ??= []).Add(start);
        }

        return candidates;
    }

    // The token itself or the longest of its prefixes that may stand at a place; -1 for none.
    private int Allowed(int order, int start, LiteralRanges literals)
    {
        while (order >= 0 && _isControl[order] && start + _lengths[order] > literals.EndAt(start)) order = _shorter[order];
        return order;
    }

    private void Place(ReadOnlySpan<byte> utf8, int order, List<int> places, List<int>?[] candidates, LiteralRanges literals, Span<byte> isTaken, List<TextFragment> found)
    {
        int token = _tokens[order], length = _lengths[order];
        TokenAttributes attributes = _vocabulary.Attributes(token);
        places.Sort();
        foreach (int start in places)
        {
            int end = start + length;
            if (isTaken[start] != 0) continue;

            // What is taken already is at least as long as this token, so it would cover one of the token's ends.
            if (isTaken[end - 1] != 0)
            {
                int shorter = Allowed(_shorter[order], start, literals);
                if (shorter >= 0) (candidates[shorter] ??= []).Add(start);
                continue;
            }

            found.Add(new TextFragment(start, end, token));
            int left = start, right = end;
            if ((attributes & TokenAttributes.StripLeft) != 0)
                while (left > 0 && isTaken[left - 1] == 0 && IsSpace(utf8[left - 1])) left--;
            if ((attributes & TokenAttributes.StripRight) != 0)
                while (right < utf8.Length && isTaken[right] == 0 && IsSpace(utf8[right])) right++;
            if (left < start) found.Add(new TextFragment(left, start, -1));
            if (right > end) found.Add(new TextFragment(end, right, -1));
            isTaken[left..right].Fill(1);
        }
    }
}
