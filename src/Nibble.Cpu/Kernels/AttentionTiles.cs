using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Nibble.Core.Compute;
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

    // So many rows before they are decoded, memory is asked for them.
    private const int AheadRows = 16;

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
        KvLayer layer = arguments.Layer;
        int keySize = layer.KeySize, valueSize = layer.ValueSize, paddedValue = arguments.PaddedValue;
        int rows = tokens * heads, maxRows = arguments.GroupTokens * arguments.GroupHeads;
        float* keys = (float*)scratch;                      // [padded key x Tile], a column a position
        float* keyRows = keys + (arguments.PaddedKey * Tile); // [4 x padded key]
        float* values = keyRows + (4 * arguments.PaddedKey); // [Tile x padded value]
        float* sums = values + ((long)Tile * paddedValue);  // [rows x padded value]
        float* scores = sums + ((long)maxRows * paddedValue); // [rows x Tile]
        float* queries = scores + ((long)maxRows * Tile);   // [rows x key]
        float* highest = queries + ((long)maxRows * keySize); // [rows]
        float* totals = highest + maxRows;                  // [rows]
        float* factors = totals + maxRows;                  // [rows]
        float* slopes = factors + maxRows;                  // [rows]
        float* ramp = slopes + maxRows;                     // [Tile]
        float* lanes = ramp + Tile;                         // [16]

        int position = arguments.FirstPosition + firstToken; // of the first of these tokens
        int queryHead = (kvHead * arguments.GroupHeads) + firstHead;
        for (int t = 0; t < tokens; t++)
        {
            float* source = arguments.Queries + ((firstToken + t) * arguments.QueryStride) + ((long)queryHead * keySize);
            new Span<float>(source, heads * keySize).CopyTo(new Span<float>(queries + ((long)t * heads * keySize), heads * keySize));
            new Span<float>(factors + (t * heads), heads).Fill(arguments.Options.Scale * arguments.Options.Temperature.At(position + t));
        }

        for (int i = 0; i < Tile; i++)
            ramp[i] = i;
        new Span<float>(sums, rows * paddedValue).Clear();
        for (int i = 0; i < rows; i++)
        {
            // A sink is a position that was seen first, and whose value is 0.
            int head = queryHead + (i % heads);
            slopes[i] = arguments.Options.Slope(head);
            highest[i] = arguments.Sinks == null ? float.NegativeInfinity : arguments.Sinks[head];
            totals[i] = arguments.Sinks == null ? 0 : 1;
        }

        int end = position + tokens;
        for (int start = layer.FirstVisible(position) / Tile * Tile; start < end; start += Tile)
        {
            // Tokens before the tile have nothing to see in it, nor have those whose window begins behind it; the first one that sees it begins first.
            int token = Math.Max(0, start - position), last = tokens;
            while (layer.FirstVisible(position + last - 1) >= start + Tile)
                last--;
            int from = Math.Max(0, layer.FirstVisible(position + token) - start), to = Math.Min(Tile, position + last - start);
            DecodeKeys(in arguments, kvHead, start, from, to, keyRows, keys);
            DecodeValues(in arguments, kvHead, start, from, to, paddedValue, values);

            int row = token * heads, count = (last - token) * heads;
            new Span<float>(scores + ((long)row * Tile), count * Tile).Clear();
            OuterProduct<TLanes, TVector>.Add(queries + ((long)row * keySize), keySize, keys, scores + ((long)row * Tile), count, keySize, Tile);
            while (token < last)
            {
                (int low, int high) = Visible(in layer, position + token, start);
                int next = token + 1;
                while (next < last && Visible(in layer, position + next, start) == (low, high))
                    next++;
                for (int i = token * heads; i < next * heads; i++)
                {
                    float* line = scores + ((long)i * Tile);
                    Score(line, factors[i], arguments.Options.SoftCap, slopes[i], position + (i / heads) - start, ramp);
                    Weigh(line, low, high, highest + i, totals + i, sums + ((long)i * paddedValue), paddedValue, lanes);
                }

                row = token * heads;
                OuterProduct<TLanes, TVector>.Add(
                    scores + ((long)row * Tile) + low, Tile, values + ((long)low * paddedValue), sums + ((long)row * paddedValue), (next - token) * heads, high - low, paddedValue);
                token = next;
            }
        }

        for (int i = 0; i < rows; i++)
        {
            float* y = arguments.Y + ((firstToken + (i / heads)) * arguments.YStride) + ((long)(queryHead + (i % heads)) * valueSize);
            Elements<TLanes, TVector>.Scale(sums + ((long)i * paddedValue), 1 / totals[i], y, valueSize);
        }
    }

    // The positions of a tile that a token sees: from the first to before the second, counted from the tile's first.
    private static (int Low, int High) Visible(in KvLayer layer, int position, int start) =>
        (Math.Max(0, layer.FirstVisible(position) - start), Math.Min(Tile, position + 1 - start));

    // Products become scores: scaled, capped, and less the slope times the distance from the token, which stands so many positions after the tile's first.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Score(float* scores, float scale, float cap, float slope, int place, float* ramp)
    {
        TVector factor = TLanes.Broadcast(scale);
        for (int i = 0; i < Tile; i += TLanes.Count)
            TLanes.Store(TLanes.Multiply(TLanes.Load(scores + i), factor), scores + i);
        if (cap > 0) Elements<TLanes, TVector>.SoftCap(scores, cap, scores, Tile);
        if (slope == 0) return;
        TVector own = TLanes.Broadcast(place), fall = TLanes.Broadcast(slope);
        for (int i = 0; i < Tile; i += TLanes.Count)
        {
            TVector distance = TLanes.Subtract(own, TLanes.Load(ramp + i));
            TLanes.Store(TLanes.Subtract(TLanes.Load(scores + i), TLanes.Multiply(fall, distance)), scores + i);
        }
    }

    // Scores become weights relative to the highest score so far; what was summed up before is scaled to it. What the token does not see weighs 0.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Weigh(float* scores, int low, int high, float* highest, float* total, float* sums, int size, float* lanes)
    {
        for (int i = 0; i < low; i++)
            scores[i] = float.NegativeInfinity;
        for (int i = high; i < Tile; i++)
            scores[i] = float.NegativeInfinity;
        TVector most = TLanes.Broadcast(float.NegativeInfinity);
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

    // Four positions at a time are decoded to rows and turned into columns. Columns before the first position are left as they are: nobody sees them.
    private static void DecodeKeys(in AttentionArguments arguments, int kvHead, int start, int from, int to, float* rows, float* keys)
    {
        int padded = arguments.PaddedKey, size = arguments.Layer.KeySize;
        for (int p = from & -4; p < Tile; p += 4)
        {
            for (int i = 0; i < 4; i++)
            {
                float* row = rows + (i * padded);
                if (p + i >= from && p + i < to)
                    Decode(in arguments, arguments.Keys, arguments.KeyBytes, start + p + i, kvHead, size, row);
                else
                    new Span<float>(row, size).Clear();
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

    private static void DecodeValues(in AttentionArguments arguments, int kvHead, int start, int from, int to, int padded, float* values)
    {
        int size = arguments.Layer.ValueSize;
        for (int p = from; p < to; p++)
        {
            float* row = values + (p * (long)padded);
            Decode(in arguments, arguments.Values, arguments.ValueBytes, start + p, kvHead, size, row);
            new Span<float>(row + size, padded - size).Clear();
        }
    }

    private static void Decode(in AttentionArguments arguments, byte* first, long rowBytes, int position, int head, int size, float* values)
    {
        BlockFormat format = arguments.Format;
        int bytes = size / format.BlockValues * format.BlockBytes, row = position < arguments.Rows ? position : position % arguments.Rows;
        byte* source = first + (row * rowBytes) + ((long)head * bytes);
        if (Sse.IsSupported)
        {
            // A head's rows lie apart, where the processor does not guess that they come next.
            byte* later = source + (AheadRows * rowBytes);
            for (int i = 0; i < bytes; i += 64)
                Sse.Prefetch0(later + i);
        }

        KvRows.Decode(format, source, size, values);
    }
}
