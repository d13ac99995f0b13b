using System.Text;

namespace Nibble.Llm.Tokenizers.PreTokenizers;

/// <summary>A set of code points, written as in a regular expression's brackets: single characters and ranges with a hyphen between.</summary>
internal sealed class CodePointSet
{
    private readonly int[] _firsts;
    private readonly int[] _lasts;
    private readonly ulong _ascii0;
    private readonly ulong _ascii1;

    /// <param name="specification">Characters and ranges; a hyphen at the start or end stands for itself.</param>
    public CodePointSet(string specification)
    {
        List<(int First, int Last)> ranges = [];
        Rune[] runes = [.. specification.EnumerateRunes()];
        for (int i = 0; i < runes.Length; i++)
        {
            bool isRange = i + 2 < runes.Length && runes[i + 1].Value == '-';
            ranges.Add((runes[i].Value, runes[isRange ? i + 2 : i].Value));
            if (isRange) i += 2;
        }

        ranges.Sort();
        List<(int First, int Last)> merged = [];
        foreach ((int first, int last) in ranges)
        {
            if (merged.Count > 0 && first <= merged[^1].Last + 1) merged[^1] = (merged[^1].First, Math.Max(merged[^1].Last, last));
            else merged.Add((first, last));
        }

        _firsts = [.. merged.Select(r => r.First)];
        _lasts = [.. merged.Select(r => r.Last)];
        for (int c = 0; c < 128; c++)
            if (Search(c))
            {
                if (c < 64) _ascii0 |= 1UL << c;
                else _ascii1 |= 1UL << (c - 64);
            }
    }

    /// <summary>Whether a code point is in the set.</summary>
    public bool Contains(int codePoint) =>
        codePoint < 128 ? ((codePoint < 64 ? _ascii0 : _ascii1) >> (codePoint & 63) & 1) != 0 : Search(codePoint);

    private bool Search(int codePoint)
    {
        int index = Array.BinarySearch(_firsts, codePoint);
        if (index < 0) index = ~index - 1;
        return index >= 0 && codePoint <= _lasts[index];
    }
}
