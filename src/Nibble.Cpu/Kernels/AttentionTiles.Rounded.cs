using System.Runtime.CompilerServices;

namespace Nibble.Cpu.Kernels;

/// <content>Products of 16-bit integers: see <see cref="KvPairs{TLanes, TVector}"/> for how keys, values and queries are rounded.</content>
/// <remarks>
/// The scale of a value goes into the weight of its position, as an addition to the score: <see cref="State.Powers"/>. What comes of that is rounded to 13 bits of the row's largest in the tile, rather than
/// of the largest so far, behind which all others would vanish in a tile after a sink; each row has a factor that its sums of the tile are multiplied by. Totals are of weights that are not rounded, divided
/// by the scale again, so that a position of much weight and a small value counts in full there. Rounding has an offset for each position of a tile (<see cref="State.Offsets"/>), without
/// which many small weights of one size would all be rounded to the same side.
/// </remarks>
internal static unsafe partial class AttentionTiles<TLanes, TVector>
{
    // What VectorMath.Exp2 has for all that is too small, positions that are not seen among it: these must not count, since what they hold is not the row's.
    private const float LeastWeight = 1.17549435e-38f;

    // What an integer of weighted values stands for where the tile's largest weight is the largest so far: KvPairs.LargestWeight x KvPairs.ValueUnit of them are 1.
    private const float WeightUnit = 1 / (KvPairs<TLanes, TVector>.LargestWeight * KvPairs<TLanes, TVector>.ValueUnit);

    private static void RoundQuery(in AttentionArguments arguments, in State state, int row)
    {
        int size = arguments.Layer.KeySize, padded = arguments.PaddedKey;
        float* query = state.Queries + ((long)row * padded);
        new Span<float>(query + size, padded - size).Clear();
        state.QueryScales[row] = KvPairs<TLanes, TVector>.Query(query, padded);
    }

    private static void RoundTile(in AttentionArguments arguments, in State state, int to)
    {
        KvPairs<TLanes, TVector>.Keys(state.Keys, (arguments.Layer.KeySize + 1) / 2, to, state.KeyScales);
        KvPairs<TLanes, TVector>.Values(state.Values, arguments.PaddedValue, to, state.Powers, state.Inverses, state.KeyScales, (float*)state.Rows);
    }

    // A band of rows with a rounded tile.
    private static void RunRounded(in AttentionArguments arguments, in State state, int row, int rows, int start, int to)
    {
        int padded = arguments.PaddedValue, key = arguments.PaddedKey, pairs = (arguments.Layer.KeySize + 1) / 2, columns = (to + 31) & -32;
        float* sums = state.Sums + ((long)row * padded);
        int* queries = (int*)state.Queries + ((long)row * key);
        for (int first = 0; first < pairs; first += KvPairs<TLanes, TVector>.KeyBlock)
        {
            int inner = Math.Min(KvPairs<TLanes, TVector>.KeyBlock, pairs - first);
            PairProduct<TLanes, TVector>.Add(queries + first, key, state.Keys + ((long)first * Tile), Tile, state.Scores, Tile, rows, inner, columns, state.QueryScales + row, state.KeyScales, first == 0);
        }

        Adjust(in arguments, in state, row, rows, start);
        (int low, _) = Visible(in arguments, in state, row + rows - 1, start);
        (_, int high) = Visible(in arguments, in state, row, start);
        if (low > 0 || high < Tile) Hide(in arguments, in state, row, rows, start, float.NegativeInfinity);
        WeighRounded(in state, state.Highest + row, state.Totals + ((long)row * 16), sums, rows, padded);
        PairProduct<TLanes, TVector>.Add((int*)state.Scores, Tile, state.Values, padded, sums, padded, rows, Math.Min(to, Tile / 2), padded, state.Factors, null, false);
    }

    // Scores become weights relative to the tile's highest, in pairs of a position and the 32nd after it; factors and totals are relative to the highest so far.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void WeighRounded(in State state, float* highest, float* totals, float* sums, int rows, int size)
    {
        float* scores = state.Scores, powers = state.Powers, inverses = state.Inverses, offsets = state.Offsets, factors = state.Factors;
        for (; rows > 0; rows--, scores += Tile, highest++, totals += 16, sums += size, factors++)
        {
            TVector most = TLanes.Add(TLanes.Load(scores), TLanes.Load(powers));
            for (nint i = TLanes.Count; i < Tile; i += TLanes.Count)
                most = TLanes.Max(most, TLanes.Add(TLanes.Load(scores + i), TLanes.Load(powers + i)));
            float top = TLanes.Highest(most), before = *highest;
            TVector change = TLanes.Broadcast(1), share = change;
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
                share = VectorMath<TLanes, TVector>.Exp2(TLanes.Broadcast(top - before));
            }

            *factors = TLanes.First(share) * WeightUnit;
            // A tile of scores that overflowed adds nothing.
            TVector down = TLanes.Broadcast(MathF.Max(top, float.MinValue)), least = TLanes.Broadcast(LeastWeight);
            // A total has 16 lanes whatever the width of vectors is, so that all paths have the same bits.
            for (nint lane = 0; lane < 16; lane += TLanes.Count)
            {
                float* four = scores + lane, power = powers + lane, inverse = inverses + lane, offset = offsets + lane;
                TVector a = VectorMath<TLanes, TVector>.Exp2(TLanes.Subtract(TLanes.Add(TLanes.Load(four), TLanes.Load(power)), down));
                TVector b = VectorMath<TLanes, TVector>.Exp2(TLanes.Subtract(TLanes.Add(TLanes.Load(four + 16), TLanes.Load(power + 16)), down));
                TVector c = VectorMath<TLanes, TVector>.Exp2(TLanes.Subtract(TLanes.Add(TLanes.Load(four + 32), TLanes.Load(power + 32)), down));
                TVector d = VectorMath<TLanes, TVector>.Exp2(TLanes.Subtract(TLanes.Add(TLanes.Load(four + 48), TLanes.Load(power + 48)), down));
                TLanes.Store(KvPairs<TLanes, TVector>.Pair(RoundedWeight(a, offset), RoundedWeight(c, offset + 32)), four);
                TLanes.Store(KvPairs<TLanes, TVector>.Pair(RoundedWeight(b, offset + 16), RoundedWeight(d, offset + 48)), four + 16);
                (a, b, c, d) = (TLanes.Subtract(a, least), TLanes.Subtract(b, least), TLanes.Subtract(c, least), TLanes.Subtract(d, least));
                TVector sum = TLanes.MultiplyAdd(a, TLanes.Load(inverse), TLanes.Multiply(b, TLanes.Load(inverse + 16)));
                sum = TLanes.Add(sum, TLanes.MultiplyAdd(c, TLanes.Load(inverse + 32), TLanes.Multiply(d, TLanes.Load(inverse + 48))));
                TLanes.Store(TLanes.MultiplyAdd(sum, share, TLanes.Multiply(TLanes.Load(totals + lane), change)), totals + lane);
            }
        }
    }

    // An integer in the low bits. Offsets are below a half, so that 0 and the largest weight stay what they are.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector RoundedWeight(TVector weight, float* offset) =>
        TLanes.Add(TLanes.MultiplyAdd(weight, TLanes.Broadcast(KvPairs<TLanes, TVector>.LargestWeight), TLanes.Load(offset)), TLanes.Broadcast(KvPairs<TLanes, TVector>.Shift));
}
