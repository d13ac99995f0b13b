using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Nibble.Core.Formats;
using Nibble.Cpu.Codes;

namespace Nibble.Cpu.Kernels;

/// <summary>Causal attention of some tokens' heads over one KV head: softmax in one pass over tiles of positions (Milakov and Gimelshein, arXiv 1805.02867).</summary>
/// <remarks>A (token, head) pair sees the same tiles and the same order of sums whatever tokens and heads are computed with it.</remarks>
internal static unsafe class AttentionTiles<TLanes, TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : struct
{
    private const int Tile = AttentionArguments.TilePositions;

    /// <summary>Computes query heads of some tokens.</summary>
    /// <param name="arguments">The operation.</param>
    /// <param name="scratch">[<see cref="AttentionArguments.ScratchBytes"/>].</param>
    /// <param name="kvHead">The KV head.</param>
    /// <param name="firstToken">First token.</param>
    /// <param name="tokens">Tokens, at most <see cref="AttentionArguments.GroupTokens"/>.</param>
    /// <param name="firstHead">First query head, counted inside the group that shares the KV head.</param>
    /// <param name="heads">Query heads.</param>
    public static void Run(in AttentionArguments arguments, byte* scratch, int kvHead, int firstToken, int tokens, int firstHead, int heads)
    {
        int keySize = arguments.KeySize, valueSize = arguments.ValueSize, paddedValue = arguments.PaddedValue;
        int rows = tokens * heads, maxRows = arguments.GroupTokens * arguments.GroupHeads;
        float* keys = (float*)scratch;                      // [padded key x Tile], a column a position
        float* keyRows = keys + (arguments.PaddedKey * Tile); // [4 x padded key]
        float* values = keyRows + (4 * arguments.PaddedKey); // [Tile x padded value]
        float* sums = values + ((long)Tile * paddedValue);  // [rows x padded value]
        float* scores = sums + ((long)maxRows * paddedValue); // [rows x Tile]
        float* queries = scores + ((long)maxRows * Tile);   // [rows x key]
        float* highest = queries + ((long)maxRows * keySize); // [rows]
        float* totals = highest + maxRows;                  // [rows]
        float* lanes = totals + maxRows;                    // [16]

        int queryHead = (kvHead * arguments.GroupHeads) + firstHead;
        for (int t = 0; t < tokens; t++)
        {
            float* source = arguments.Queries + ((firstToken + t) * arguments.QueryStride) + ((long)queryHead * keySize);
            new Span<float>(source, heads * keySize).CopyTo(new Span<float>(queries + ((long)t * heads * keySize), heads * keySize));
        }

        new Span<float>(sums, rows * paddedValue).Clear();
        new Span<float>(highest, rows).Fill(float.NegativeInfinity);
        new Span<float>(totals, rows).Clear();

        int position = arguments.FirstPosition + firstToken; // of the first of these tokens
        int end = position + tokens;
        for (int start = 0; start < end; start += Tile)
        {
            int count = Math.Min(Tile, end - start);
            DecodeKeys(in arguments, kvHead, start, count, keyRows, keys);
            DecodeValues(in arguments, kvHead, start, count, paddedValue, values);

            // Tokens before the tile have nothing to see in it.
            int row = Math.Max(0, start - position) * heads;
            new Span<float>(scores + ((long)row * Tile), (rows - row) * Tile).Clear();
            OuterProduct<TLanes, TVector>.Add(queries + ((long)row * keySize), keySize, keys, scores + ((long)row * Tile), rows - row, keySize, Tile);
            while (row < rows)
            {
                int visible = Math.Min(Tile, position + (row / heads) + 1 - start);
                int next = visible == Tile ? rows : Math.Min(rows, ((row / heads) + 1) * heads);
                for (int i = row; i < next; i++)
                    Weigh(scores + ((long)i * Tile), visible, arguments.Scale, highest + i, totals + i, sums + ((long)i * paddedValue), paddedValue, lanes);
                OuterProduct<TLanes, TVector>.Add(scores + ((long)row * Tile), Tile, values, sums + ((long)row * paddedValue), next - row, visible, paddedValue);
                row = next;
            }
        }

        for (int i = 0; i < rows; i++)
        {
            float* y = arguments.Y + ((firstToken + (i / heads)) * arguments.YStride) + ((long)(queryHead + (i % heads)) * valueSize);
            Elements<TLanes, TVector>.Scale(sums + ((long)i * paddedValue), 1 / totals[i], y, valueSize);
        }
    }

    // Scores become weights relative to the highest score so far; what was summed up before is scaled to it.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Weigh(float* scores, int visible, float scale, float* highest, float* total, float* sums, int size, float* lanes)
    {
        TVector factor = TLanes.Broadcast(scale), most = TLanes.Broadcast(float.NegativeInfinity);
        for (int i = 0; i < Tile; i += TLanes.Count)
            TLanes.Store(TLanes.Multiply(TLanes.Load(scores + i), factor), scores + i);
        for (int i = visible; i < Tile; i++)
            scores[i] = float.NegativeInfinity;
        for (int i = 0; i < Tile; i += TLanes.Count)
            most = TLanes.Max(most, TLanes.Load(scores + i));
        TLanes.Store(most, lanes);
        float top = *highest;
        for (int i = 0; i < TLanes.Count; i++)
            top = MathF.Max(top, lanes[i]);

        TVector down = TLanes.Broadcast(top);
        for (int pass = 0; pass < 16; pass += TLanes.Count)
        {
            TVector sum = TLanes.Zero;
            for (int i = pass; i < Tile; i += 16)
            {
                TVector weight = VectorMath<TLanes, TVector>.Exp(TLanes.Subtract(TLanes.Load(scores + i), down));
                TLanes.Store(weight, scores + i);
                sum = TLanes.Add(sum, weight);
            }

            TLanes.Store(sum, lanes + pass);
        }

        float weights = Lanes16.Sum(lanes);
        if (top != *highest)
        {
            float before = TLanes.First(VectorMath<TLanes, TVector>.Exp(TLanes.Broadcast(*highest - top)));
            TVector change = TLanes.Broadcast(before);
            for (int i = 0; i < size; i += TLanes.Count)
                TLanes.Store(TLanes.Multiply(TLanes.Load(sums + i), change), sums + i);
            *total *= before;
            *highest = top;
        }

        *total += weights;
    }

    // Four positions at a time are decoded to rows and turned into columns.
    private static void DecodeKeys(in AttentionArguments arguments, int kvHead, int start, int count, float* rows, float* keys)
    {
        int padded = arguments.PaddedKey;
        for (int p = 0; p < Tile; p += 4)
        {
            for (int i = 0; i < 4; i++)
            {
                float* row = rows + (i * padded);
                if (p + i < count)
                    Decode(arguments.Format, arguments.Keys + ((start + p + i) * arguments.KeyBytes), kvHead, arguments.KeySize, row);
                else
                    new Span<float>(row, arguments.KeySize).Clear();
            }

            Turn(rows, padded, keys + p);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Turn(float* rows, int padded, float* keys)
    {
        for (int k = 0; k < padded; k += 4)
        {
            Vector128<float> a = Vector128.Load(rows + k), b = Vector128.Load(rows + padded + k);
            Vector128<float> c = Vector128.Load(rows + (2 * padded) + k), d = Vector128.Load(rows + (3 * padded) + k);
            Lanes16.Transpose(ref a, ref b, ref c, ref d);
            a.Store(keys + (k * Tile));
            b.Store(keys + ((k + 1) * Tile));
            c.Store(keys + ((k + 2) * Tile));
            d.Store(keys + ((k + 3) * Tile));
        }
    }

    private static void DecodeValues(in AttentionArguments arguments, int kvHead, int start, int count, int padded, float* values)
    {
        for (int p = 0; p < count; p++)
        {
            float* row = values + (p * (long)padded);
            Decode(arguments.Format, arguments.Values + ((start + p) * arguments.ValueBytes), kvHead, arguments.ValueSize, row);
            new Span<float>(row + arguments.ValueSize, padded - arguments.ValueSize).Clear();
        }
    }

    private static void Decode(BlockFormat format, byte* position, int head, int size, float* values)
    {
        int bytes = size / format.BlockValues * format.BlockBytes;
        KvRows.Decode(format, position + ((long)head * bytes), size, values);
    }
}
