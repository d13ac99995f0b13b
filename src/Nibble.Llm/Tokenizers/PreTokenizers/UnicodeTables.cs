using System.Numerics;

namespace Nibble.Llm.Tokenizers.PreTokenizers;

/// <summary>Classes, lowercase mappings and base letters of code points, unpacked once from the packed tables.</summary>
internal static partial class UnicodeTables
{
    private const int BlockSize = 256;
    private const int CodePoints = 0x110000;

    // Two-stage table: most blocks of 256 code points equal another one.
    private static readonly ushort[] Blocks;
    private static readonly CodePointClass[] Classes;
    private static readonly Dictionary<int, int> Lowercase = Unpack(LowercaseRuns, constantTarget: false);
    private static readonly Dictionary<int, int> Decompositions = Unpack(DecompositionRuns, constantTarget: true);

#pragma warning disable CA1810 // The two stages are built together.
    static UnicodeTables()
#pragma warning restore CA1810
    {
        CodePointClass[] all = new CodePointClass[CodePoints];
        ReadOnlySpan<byte> packed = CategoryRuns;
        for (int start = 0; start < CodePoints;)
        {
            int run = ReadVarint(ref packed);
            int end = start + (run >> 3);
            all.AsSpan(start, end - start).Fill((CodePointClass)(1 << (run & 7)));
            start = end;
        }

        foreach ((int first, int last) in WhitespaceRanges)
            for (int c = first; c <= last; c++) all[c] |= CodePointClass.Whitespace;

        Blocks = new ushort[CodePoints / BlockSize];
        List<CodePointClass> distinct = [];
        Dictionary<ulong, List<int>> byHash = [];
        for (int block = 0; block < Blocks.Length; block++)
        {
            ReadOnlySpan<CodePointClass> values = all.AsSpan(block * BlockSize, BlockSize);
            ulong hash = 14695981039346656037;
            foreach (CodePointClass value in values) hash = BitOperations.RotateLeft((hash ^ (ushort)value) * 1099511628211, 7);
            if (!byHash.TryGetValue(hash, out List<int>? candidates)) byHash[hash] = candidates = [];
            int found = -1;
            foreach (int candidate in candidates)
                if (System.Runtime.InteropServices.CollectionsMarshal.AsSpan(distinct).Slice(candidate * BlockSize, BlockSize).SequenceEqual(values)) found = candidate;
            if (found < 0)
            {
                found = distinct.Count / BlockSize;
                candidates.Add(found);
                distinct.AddRange(values);
            }

            Blocks[block] = (ushort)found;
        }

        Classes = [.. distinct];
    }

    // White_Space of PropList.txt.
    private static ReadOnlySpan<(int First, int Last)> WhitespaceRanges =>
        new (int, int)[]
        {
            (0x09, 0x0D), (0x20, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F),
            (0x205F, 0x205F), (0x3000, 0x3000),
        };

    /// <summary>The class of a code point.</summary>
    /// <param name="codePoint">0 to 0x10FFFF.</param>
    public static CodePointClass ClassOf(int codePoint) => Classes[(Blocks[codePoint >> 8] << 8) | (codePoint & 0xFF)];

    /// <summary>The simple lowercase mapping; itself where there is none.</summary>
    public static int ToLower(int codePoint) => Lowercase.GetValueOrDefault(codePoint, codePoint);

    /// <summary>The first code point of the canonical decomposition: a letter without its accents; itself where there is none.</summary>
    public static int BaseOf(int codePoint) => Decompositions.GetValueOrDefault(codePoint, codePoint);

    private static int ReadVarint(ref ReadOnlySpan<byte> packed)
    {
        int value = 0, shift = 0;
        while (true)
        {
            byte b = packed[0];
            packed = packed[1..];
            value |= (b & 0x7F) << shift;
            if (b < 0x80) return value;
            shift += 7;
        }
    }

    private static Dictionary<int, int> Unpack(ReadOnlySpan<byte> packed, bool constantTarget)
    {
        Dictionary<int, int> map = [];
        int source = 0, target = 0;
        while (packed.Length > 0)
        {
            source += ReadVarint(ref packed);
            int shape = ReadVarint(ref packed);
            int zigzag = ReadVarint(ref packed);
            int delta = (zigzag >> 1) ^ -(zigzag & 1);
            int count = constantTarget ? shape + 1 : (shape >> 1) + 1;
            int stride = constantTarget ? 1 : (shape & 1) + 1;
            target += delta;
            for (int i = 0; i < count; i++)
            {
                int c = source + i * stride;
                map[c] = constantTarget ? target : c + delta;
            }

            source += (count - 1) * stride;
        }

        return map;
    }
}
