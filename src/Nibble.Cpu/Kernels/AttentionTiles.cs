using System.Runtime.CompilerServices;
using Nibble.Core.Compute;

namespace Nibble.Cpu.Kernels;

/// <summary>Causal attention of some tokens' heads: tiles of positions, whose keys and values are decoded once for all of them, and softmax in one pass (Milakov and Gimelshein, arXiv 1805.02867).</summary>
/// <remarks>
/// A row, that is a (token, head) pair, sees the same tiles and chunks and the same order of sums whatever tokens and heads are computed with it, and by how many threads.
/// Scores are in bits, so that weights are powers of two.
/// </remarks>
internal static unsafe partial class AttentionTiles<TLanes, TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : struct
{
    private const int Tile = AttentionArguments.TilePositions;

    private const float Log2E = 1.44269504f;

    private const float GoldenRatio = 0.618034f;

    private const int BandRows = AttentionArguments.BandRows;

    /// <summary>Computes a unit: to the output where it has all chunks and nothing is merged later, else to <see cref="AttentionArguments.Partials"/>.</summary>
    /// <param name="arguments">The operation.</param>
    /// <param name="unit">The unit, of at most <see cref="AttentionArguments.UnitRows"/> rows.</param>
    /// <param name="scratch">[<see cref="AttentionArguments.ScratchBytes"/>].</param>
    public static void Run(in AttentionArguments arguments, in AttentionUnit unit, byte* scratch)
    {
        State state = new(in arguments, in unit, scratch);
        KvLayer layer = arguments.Layer;
        int position = arguments.FirstPosition + unit.FirstToken, end = position + unit.Tokens;
        LoadQueries(in arguments, in unit, in state);
        bool merges = arguments.Partials == null;
        for (int i = 0; merges && i < state.RowCount; i++)
            ClearMerged(state.Merged + ((long)i * arguments.PartialValues), arguments.PaddedValue);
        for (int chunk = unit.FirstChunk; chunk < unit.FirstChunk + unit.Chunks; chunk++)
        {
            int behind = Math.Min(end, (chunk + 1) * AttentionArguments.ChunkPositions);
            int start = Math.Max(chunk * AttentionArguments.ChunkPositions, layer.FirstVisible(position) / Tile * Tile);
            if (start >= behind) continue;
            new Span<float>(state.Highest, state.RowCount).Fill(float.NegativeInfinity);
            new Span<float>(state.Totals, state.RowCount * 16).Clear();
            new Span<float>(state.Sums, state.RowCount * arguments.PaddedValue).Clear();
            for (; start < behind; start += Tile)
                RunTile(in arguments, in unit, in state, start);
            EndChunk(in arguments, in unit, in state, chunk);
        }

        if (!merges) return;
        for (int i = 0; i < state.RowCount; i++)
        {
            (int token, int head) = state.TokenAndHead(i);
            Finish(in arguments, token, head, state.Merged + ((long)i * arguments.PartialValues));
        }
    }

    /// <summary>Merges what the chunks gave for some tokens' heads.</summary>
    /// <param name="arguments">The operation.</param>
    /// <param name="unit">Tokens and heads, as those that computed the chunks had them.</param>
    /// <param name="scratch">[<see cref="AttentionArguments.ScratchBytes"/>].</param>
    public static void Merge(in AttentionArguments arguments, in AttentionUnit unit, byte* scratch)
    {
        float* merged = (float*)scratch;
        for (int token = unit.FirstToken; token < unit.FirstToken + unit.Tokens; token++)
        {
            int position = arguments.FirstPosition + token;
            for (int head = unit.FirstHead; head < unit.FirstHead + unit.Heads; head++)
            {
                ClearMerged(merged, arguments.PaddedValue);
                for (int chunk = arguments.Layer.FirstVisible(position) / AttentionArguments.ChunkPositions; chunk <= position / AttentionArguments.ChunkPositions; chunk++)
                {
                    float* partial = arguments.Partial(token, head, chunk);
                    Join(merged, partial, partial[arguments.PaddedValue], partial[arguments.PaddedValue + 1], arguments.PaddedValue);
                }

                Finish(in arguments, token, head, merged);
            }
        }
    }

    private static void LoadQueries(in AttentionArguments arguments, in AttentionUnit unit, in State state)
    {
        int size = arguments.Layer.KeySize;
        float scale = arguments.Options.Scale * (arguments.Options.SoftCap > 0 ? 1 : Log2E);
        for (int i = 0; i < state.RowCount; i++)
        {
            (int token, int head) = state.TokenAndHead(i);
            float* source = arguments.Queries + (token * arguments.QueryStride) + ((long)head * size);
            Elements<TLanes, TVector>.Scale(source, scale * arguments.Options.Temperature.At(arguments.FirstPosition + token), state.Queries + ((long)i * arguments.PaddedKey), size);
            if (arguments.IsRotated) HeadRotation.Rotate(state.Queries + ((long)i * arguments.PaddedKey), size, size);
            state.Slopes[i] = arguments.Options.Slope(head) * Log2E;
            if (arguments.IsRounded) RoundQuery(in arguments, in state, i);
        }

        for (int i = 0; i < Tile; i++)
        {
            state.Ramp[i] = i;
            float spread = (i + 1) * GoldenRatio;
            state.Offsets[i] = spread - MathF.Floor(spread) - 0.5f;
        }
    }

    private static void RunTile(in AttentionArguments arguments, in AttentionUnit unit, in State state, int start)
    {
        // Tokens before the tile have nothing to see in it, nor have those whose window begins behind it; the first one that sees it begins first.
        KvLayer layer = arguments.Layer;
        int position = arguments.FirstPosition + unit.FirstToken, token = Math.Max(0, start - position), last = unit.Tokens;
        while (last > token && layer.FirstVisible(position + last - 1) >= start + Tile)
            last--;
        if (token >= last) return;
        int from = Math.Max(0, layer.FirstVisible(position + token) - start), to = Math.Min(Tile, position + last - start);
        int padded = arguments.PaddedValue, key = arguments.PaddedKey, next = Math.Clamp(position + last - (start + Tile), 0, Tile);
        for (int segment = 0; segment < state.Segments; segment++)
        {
            int kvHead = (unit.FirstHead / arguments.GroupHeads) + segment;
            KvTiles<TLanes, TVector>.AskFor(in arguments, unit.FirstHead / arguments.GroupHeads, state.Segments, start + Tile, segment * next / state.Segments, (segment + 1) * next / state.Segments);
            KvTiles<TLanes, TVector>.Keys(in arguments, kvHead, start, from, to, state.Rows, state.Keys);
            KvTiles<TLanes, TVector>.Values(in arguments, kvHead, start, from, to, state.Rows, state.Values);
            if (arguments.IsRounded) RoundTile(in arguments, in state, to);
            bool? isFinite = null;
            int row = segment * unit.Tokens * state.SegmentHeads, end = row + (last * state.SegmentHeads);
            row += token * state.SegmentHeads;
            for (; row < end; row += BandRows)
            {
                int rows = Math.Min(BandRows, end - row);
                float* sums = state.Sums + ((long)row * padded);
                if (arguments.IsRounded)
                {
                    RunRounded(in arguments, in state, row, rows, start, to);
                    continue;
                }

                OuterProduct<TLanes, TVector>.Add(state.Queries + ((long)row * key), key, state.Keys, Tile, state.Scores, Tile, rows, 0, layer.KeySize, (to + 31) & -32, arguments.Exact, true);
                Adjust(in arguments, in state, row, rows, start);

                // Later tokens see no less at the end and no more at the beginning.
                (int low, int high) = Visible(in arguments, in state, row, start);
                (int lastLow, int lastHigh) = Visible(in arguments, in state, row + rows - 1, start);
                bool isEven = (low, high) == (lastLow, lastHigh);
                if (!isEven || low > 0 || high < Tile) Hide(in arguments, in state, row, rows, start, float.NegativeInfinity);
                Weigh(state.Scores, state.Highest + row, state.Totals + ((long)row * 16), sums, rows, padded);
                if (!isEven) Hide(in arguments, in state, row, rows, start, 0);
                if (isEven || (isFinite ??= IsFinite(state.Values + ((long)from * padded), (long)(to - from) * padded)))
                {
                    OuterProduct<TLanes, TVector>.Add(state.Scores, Tile, state.Values, padded, sums, padded, rows, low, lastHigh, padded, arguments.Exact, false);
                    continue;
                }

                // What a row does not see weighs 0, but 0 times an infinity would be NaN.
                for (int i = 0; i < rows; i++)
                {
                    (low, high) = Visible(in arguments, in state, row + i, start);
                    OuterProduct<TLanes, TVector>.Add(state.Scores + (i * Tile), Tile, state.Values, padded, sums + ((long)i * padded), padded, 1, low, high, padded, arguments.Exact, false);
                }
            }
        }
    }

    // The positions of a tile that a row sees: from the first to before the second, counted from the tile's first.
    private static (int Low, int High) Visible(in AttentionArguments arguments, in State state, int row, int start)
    {
        int position = arguments.FirstPosition + state.TokenAndHead(row).Token;
        return (Math.Max(0, arguments.Layer.FirstVisible(position) - start), Math.Min(Tile, position + 1 - start));
    }

    // Sets what rows do not see.
    private static void Hide(in AttentionArguments arguments, in State state, int row, int rows, int start, float value)
    {
        for (int i = 0; i < rows; i++)
        {
            (int low, int high) = Visible(in arguments, in state, row + i, start);
            new Span<float>(state.Scores + (i * Tile), low).Fill(value);
            new Span<float>(state.Scores + (i * Tile) + high, Tile - high).Fill(value);
        }
    }

    // Caps scores, and takes the slope times the distance from the token away.
    private static void Adjust(in AttentionArguments arguments, in State state, int row, int rows, int start)
    {
        float cap = arguments.Options.SoftCap;
        if (cap <= 0 && arguments.Options.AlibiBias == 0) return;
        for (int i = 0; i < rows; i++)
        {
            float* scores = state.Scores + (i * Tile);
            if (cap > 0)
            {
                Elements<TLanes, TVector>.SoftCap(scores, cap, scores, Tile);
                Elements<TLanes, TVector>.Scale(scores, Log2E, scores, Tile);
            }

            float slope = state.Slopes[row + i];
            if (slope == 0) continue;
            TVector own = TLanes.Broadcast(arguments.FirstPosition + state.TokenAndHead(row + i).Token - start), fall = TLanes.Broadcast(-slope);
            for (int k = 0; k < Tile; k += TLanes.Count)
                TLanes.Store(TLanes.MultiplyAdd(fall, TLanes.Subtract(own, TLanes.Load(state.Ramp + k)), TLanes.Load(scores + k)), scores + k);
        }
    }

    // Scores become weights relative to the highest score so far; what was summed up before is scaled to it.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Weigh(float* scores, float* highest, float* totals, float* sums, int rows, int size)
    {
        for (; rows > 0; rows--, scores += Tile, highest++, totals += 16, sums += size)
        {
            TVector most = TLanes.Load(scores);
            for (nint i = TLanes.Count; i < Tile; i += TLanes.Count)
                most = TLanes.Max(most, TLanes.Load(scores + i));
            float top = TLanes.Highest(most), before = *highest;
            TVector change = TLanes.Broadcast(1);
            if (top > before)
            {
                *highest = top;
                if (before > float.NegativeInfinity)
                {
                    change = VectorMath<TLanes, TVector>.Exp2(TLanes.Broadcast(before - top));
                    for (nint i = 0; i < size; i += TLanes.Count)
                        TLanes.Store(TLanes.Multiply(TLanes.Load(sums + i), change), sums + i);
                }
            }
            else
            {
                top = before;
            }

            TVector down = TLanes.Broadcast(top);
            // A total has 16 lanes whatever the width of vectors is, so that all paths have the same bits.
            for (nint lane = 0; lane < 16; lane += TLanes.Count)
            {
                float* four = scores + lane;
                TVector a = VectorMath<TLanes, TVector>.Exp2(TLanes.Subtract(TLanes.Load(four), down));
                TVector b = VectorMath<TLanes, TVector>.Exp2(TLanes.Subtract(TLanes.Load(four + 16), down));
                TVector c = VectorMath<TLanes, TVector>.Exp2(TLanes.Subtract(TLanes.Load(four + 32), down));
                TVector d = VectorMath<TLanes, TVector>.Exp2(TLanes.Subtract(TLanes.Load(four + 48), down));
                TLanes.Store(a, four);
                TLanes.Store(b, four + 16);
                TLanes.Store(c, four + 32);
                TLanes.Store(d, four + 48);
                TVector total = TLanes.Multiply(TLanes.Load(totals + lane), change);
                TLanes.Store(TLanes.Add(total, TLanes.Add(TLanes.Add(a, b), TLanes.Add(c, d))), totals + lane);
            }
        }
    }

    // Whether all values are numbers: 0 times any other is NaN.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static bool IsFinite(float* values, long count)
    {
        TVector sum = TLanes.Zero;
        for (float* end = values + count; values < end; values += TLanes.Count)
            sum = TLanes.MultiplyAdd(TLanes.Load(values), TLanes.Zero, sum);
        float* lanes = stackalloc float[16];
        TLanes.Store(sum, lanes);
        for (int i = 0; i < TLanes.Count; i++)
            if (lanes[i] != 0) return false;
        return true;
    }

    private static void EndChunk(in AttentionArguments arguments, in AttentionUnit unit, in State state, int chunk)
    {
        int padded = arguments.PaddedValue;
        for (int i = 0; i < state.RowCount; i++)
        {
            (int token, int head) = state.TokenAndHead(i);
            int position = arguments.FirstPosition + token;
            if (chunk < arguments.Layer.FirstVisible(position) / AttentionArguments.ChunkPositions || chunk > position / AttentionArguments.ChunkPositions) continue;
            float* sums = state.Sums + ((long)i * padded), lanes = state.Totals + ((long)i * 16);
            float total = 0;
            for (int k = 0; k < 16; k++)
                total += lanes[k];
            if (arguments.Partials == null)
            {
                Join(state.Merged + ((long)i * arguments.PartialValues), sums, state.Highest[i], total, padded);
                continue;
            }

            float* partial = arguments.Partial(token, head, chunk);
            new ReadOnlySpan<float>(sums, padded).CopyTo(new Span<float>(partial, padded));
            (partial[padded], partial[padded + 1]) = (state.Highest[i], total);
        }
    }

    private static void ClearMerged(float* merged, int padded)
    {
        new Span<float>(merged, padded + 2).Clear();
        merged[padded] = float.NegativeInfinity;
    }

    // Adds a chunk to those before it, all relative to the highest score of both.
    private static void Join(float* merged, float* sums, float highest, float total, int padded)
    {
        float before = merged[padded], top = MathF.Max(before, highest);
        float kept = before == top ? 1 : Power(before - top), factor = highest == top ? 1 : Power(highest - top);
        TVector old = TLanes.Broadcast(kept), added = TLanes.Broadcast(factor);
        for (int i = 0; i < padded; i += TLanes.Count)
            TLanes.Store(TLanes.MultiplyAdd(TLanes.Load(sums + i), added, TLanes.Multiply(TLanes.Load(merged + i), old)), merged + i);
        merged[padded] = top;
        merged[padded + 1] = (merged[padded + 1] * kept) + (total * factor);
    }

    private static float Power(float x) => x < -126 ? 0 : TLanes.First(VectorMath<TLanes, TVector>.Exp2(TLanes.Broadcast(x)));

    // Weighted sums become means.
    private static void Finish(in AttentionArguments arguments, int token, int head, float* merged)
    {
        int size = arguments.Layer.ValueSize, padded = arguments.PaddedValue;
        float highest = merged[padded], total = merged[padded + 1], factor = 1;
        if (arguments.Sinks != null)
        {
            // A sink is one more position, whose value is 0.
            float sink = arguments.Sinks[head] * Log2E, top = MathF.Max(highest, sink);
            factor = highest == top ? 1 : Power(highest - top);
            total = (total * factor) + (sink == top ? 1 : Power(sink - top));
        }

        if (arguments.IsRotated) HeadRotation.Rotate(merged, size, size);
        Elements<TLanes, TVector>.Scale(merged, factor / total, arguments.Y + (token * arguments.YStride) + ((long)head * size), size);
    }

    // Where a unit's rows lie in the scratch memory. They are in the order of KV heads, tokens, heads.
    private readonly struct State
    {
        private readonly int _firstToken, _tokens, _firstHead;

        public State(in AttentionArguments arguments, in AttentionUnit unit, byte* scratch)
        {
            (_firstToken, _tokens, _firstHead) = (unit.FirstToken, unit.Tokens, unit.FirstHead);
            SegmentHeads = Math.Min(unit.Heads, arguments.GroupHeads);
            Segments = unit.Heads / SegmentHeads;
            RowCount = unit.Tokens * unit.Heads;
            Rows = scratch;
            Keys = (float*)(scratch + arguments.RowBytes);
            Values = Keys + ((long)arguments.PaddedKey * Tile);
            Scores = Values + ((long)arguments.PaddedValue * Tile);
            Queries = Scores + (BandRows * Tile);
            Sums = Queries + ((long)RowCount * arguments.PaddedKey);
            Totals = Sums + ((long)RowCount * arguments.PaddedValue);
            Merged = Totals + ((long)RowCount * 16);
            Ramp = Merged + ((long)RowCount * arguments.PartialValues);
            Highest = Ramp + Tile;
            Slopes = Highest + RowCount;
            QueryScales = Slopes + RowCount;
            KeyScales = QueryScales + RowCount;
            Powers = KeyScales + Tile;
            Inverses = Powers + Tile;
            Offsets = Inverses + Tile;
            Factors = Offsets + Tile;
        }

        // [RowBytes] a tile as it was in the cache; then [Tile x 16] for rounding values.
        public byte* Rows { get; }

        // [padded key x Tile]; rounded, half as many rows of pairs.
        public float* Keys { get; }

        // [Tile x padded value]; rounded, half as many rows of pairs.
        public float* Values { get; }

        // [BandRows x Tile] scores, then weights; rounded, these are half as many pairs in the rows' beginnings.
        public float* Scores { get; }

        // [rows x padded key]; rounded, half as many pairs in the rows' beginnings.
        public float* Queries { get; }

        // [rows x padded value] of the chunk.
        public float* Sums { get; }

        // [rows x 16] sums of the weights of the chunk.
        public float* Totals { get; }

        // [rows x PartialValues] the chunks before.
        public float* Merged { get; }

        // [Tile] 0, 1, 2 ...
        public float* Ramp { get; }

        // [rows] the highest score of the chunk, with rounded values of scores and powers added up.
        public float* Highest { get; }

        // [rows] of ALiBi.
        public float* Slopes { get; }

        // [rows] what an integer of a rounded query stands for.
        public float* QueryScales { get; }

        // [Tile] what an integer of a rounded key stands for.
        public float* KeyScales { get; }

        // [Tile] the binary logarithm of the power of two that a rounded value is relative to.
        public float* Powers { get; }

        // [Tile] 1 / that power of two.
        public float* Inverses { get; }

        // [Tile] what is added to weights before they are rounded, between -1/2 and 1/2: 0.618 further at each position modulo 1, so that any few of them are spread evenly.
        public float* Offsets { get; }

        // [BandRows] what an integer of the tile's weighted values stands for.
        public float* Factors { get; }

        // KV heads.
        public int Segments { get; }

        // Query heads of one of them.
        public int SegmentHeads { get; }

        public int RowCount { get; }

        public (int Token, int Head) TokenAndHead(int row)
        {
            (int segment, int rest) = Math.DivRem(row, _tokens * SegmentHeads);
            return (_firstToken + (rest / SegmentHeads), _firstHead + (segment * SegmentHeads) + (rest % SegmentHeads));
        }
    }
}
