using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Nibble.Cpu.Kernels;

/// <summary>Rounds decoded keys, values and queries to signed 16-bit integers in pairs, as <see cref="PairProduct{TLanes, TVector}"/> multiplies them.</summary>
/// <remarks>
/// A key or value has a scale of its own, so that what is rounded does not depend on other positions: with 2^n the power of two no larger than its largest number, an integer stands for 2^(n-13) in keys
/// and 2^(n-11) in values. So numbers of float16 from 2^(n-3) or 2^(n-1) on stay what they are, and all others are off by half an integer at most. Keys have more bits since some models' have a channel or
/// two a hundred times as large as the others; sums over 32 of their products then fill 32 bits.
/// </remarks>
internal static unsafe class KvPairs<TLanes, TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : struct
{
    /// <summary>Pairs of keys and queries whose products are added up at most: 32 x 4095 x 16384 is below 2^31.</summary>
    public const int KeyBlock = 16;

    /// <summary>The largest integer of a query; that of a key is 16384.</summary>
    public const int LargestQuery = 4095;

    /// <summary>The largest integer of a weight; that of a value is 4096, and 64 x 8191 x 4096 is below 2^31.</summary>
    public const int LargestWeight = 8191;

    private const int Tile = AttentionArguments.TilePositions;

    /// <summary>What the power of two no larger than a value's largest number becomes.</summary>
    public const float ValueUnit = 2048;

    // The same of a key's.
    private const float KeyUnit = 8192;

    // The bits of 2^-24, below which a decoded row is 0: it is the smallest float16, the smallest scale of Q8_0 and Q4_0 too.
    private const uint Smallest = 0x33800000;

    /// <summary>1.5 x 2^23: added to it a value is rounded to an integer, whose bits lie in the low ones.</summary>
    public const float Shift = 12582912f;

    /// <summary>Rounds a tile's keys. Row k of pairs has numbers 2k and 2k + 1.</summary>
    /// <param name="keys">[2 x <paramref name="pairs"/> x tile] decoded keys; overwritten with [pairs x tile] pairs.</param>
    /// <param name="pairs">Half the numbers of a key, rounded up; behind an odd number of them lies a 0.</param>
    /// <param name="count">Positions; what is written for those behind them is of no use.</param>
    /// <param name="scales">[tile] what an integer of each position stands for; NaN where the key has an infinity or NaN.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Keys(float* keys, nint pairs, nint count, float* scales)
    {
        TVector sign = TLanes.BroadcastBits(0x7FFF_FFFF), shift = TLanes.Broadcast(Shift);
        for (nint p = 0; p < count; p += TLanes.Count)
        {
            TVector most = TLanes.BroadcastBits(Smallest), more = most;
            float* column = keys + p;
            for (nint k = 0; k < pairs; k++, column += 2 * Tile)
            {
                most = TLanes.MaxIntegers(most, TLanes.And(sign, TLanes.Load(column)));
                more = TLanes.MaxIntegers(more, TLanes.And(sign, TLanes.Load(column + Tile)));
            }

            TVector power = Power(TLanes.MaxIntegers(most, more)), factor = TLanes.Divide(TLanes.Broadcast(KeyUnit), power);
            TLanes.Store(TLanes.MultiplyAdd(power, TLanes.Broadcast(1 / KeyUnit), TLanes.Subtract(power, power)), scales + p);
            float* pair = column = keys + p;
            for (nint k = 0; k < pairs; k++, column += 2 * Tile, pair += Tile)
                TLanes.Store(Pair(TLanes.MultiplyAdd(TLanes.Load(column), factor, shift), TLanes.MultiplyAdd(TLanes.Load(column + Tile), factor, shift)), pair);
        }
    }

    /// <summary>Rounds a tile's values. Row p of pairs has positions p and p + 32.</summary>
    /// <param name="values">[tile x <paramref name="padded"/>] decoded values; overwritten with [tile / 2 x padded] pairs.</param>
    /// <param name="padded">Numbers in a row; a multiple of 32.</param>
    /// <param name="count">Positions; those behind them are 0.</param>
    /// <param name="powers">[tile] binary logarithms of what <see cref="ValueUnit"/> stands for at each position.</param>
    /// <param name="inverses">[tile] 1 / 2^<paramref name="powers"/>; both are numbers also where the value has an infinity or NaN.</param>
    /// <param name="keyScales">[tile] become NaN where the value has an infinity or NaN.</param>
    /// <param name="scratch">[tile x 16].</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Values(float* values, nint padded, nint count, float* powers, float* inverses, float* keyScales, float* scratch)
    {
        TVector sign = TLanes.BroadcastBits(0x7FFF_FFFF), shift = TLanes.Broadcast(Shift), unit = TLanes.Broadcast(ValueUnit);
        float* row = values;
        for (nint p = 0; p < Tile; p++, row += padded)
        {
            TVector most = TLanes.BroadcastBits(Smallest);
            for (nint i = 0; p < count && i < padded; i += 2 * TLanes.Count)
                most = TLanes.MaxIntegers(most, TLanes.MaxIntegers(TLanes.And(sign, TLanes.Load(row + i)), TLanes.And(sign, TLanes.Load(row + i + TLanes.Count))));
            TLanes.Store(most, scratch + (16 * p));
        }

        for (nint p = 0; p < Tile; p += TLanes.Count)
        {
            TVector most = TLanes.Zero;
            for (nint i = 0; i < TLanes.Count; i += 4)
            {
                TLanes.Columns((byte*)(scratch + (16 * p) + i), 64, out TVector a, out TVector b, out TVector c, out TVector d);
                most = TLanes.MaxIntegers(most, TLanes.MaxIntegers(TLanes.MaxIntegers(a, b), TLanes.MaxIntegers(c, d)));
            }

            TVector power = Power(most);
            TLanes.Store(TLanes.Subtract(TLanes.ToFloat(TLanes.ShiftRight(power, 23)), TLanes.Broadcast(127f)), powers + p);
            TLanes.Store(TLanes.Divide(TLanes.Broadcast(1f), power), inverses + p);
            TLanes.Store(TLanes.Add(TLanes.Load(keyScales + p), TLanes.Subtract(power, power)), keyScales + p);
        }

        row = values;
        for (nint p = Math.Min(count, Tile / 2); p > 0; p--, row += padded, inverses++)
        {
            TVector low = TLanes.Multiply(unit, TLanes.Broadcast(inverses[0])), high = TLanes.Multiply(unit, TLanes.Broadcast(inverses[Tile / 2]));
            float* upper = row + (Tile / 2 * padded);
            for (nint i = 0; i < padded; i += TLanes.Count)
                TLanes.Store(Pair(TLanes.MultiplyAdd(TLanes.Load(row + i), low, shift), TLanes.MultiplyAdd(TLanes.Load(upper + i), high, shift)), row + i);
        }
    }

    /// <summary>Rounds a query relative to its largest number.</summary>
    /// <param name="query">[size] numbers; overwritten with [size / 2] pairs.</param>
    /// <param name="size">A multiple of 8.</param>
    /// <returns>What an integer stands for; NaN where the query has an infinity or NaN.</returns>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float Query(float* query, nint size)
    {
        Vector128<int> most = Vector128<int>.Zero;
        for (nint i = 0; i < size; i += 4)
            most = Vector128.Max(most, Vector128.Load((int*)query + i) & Vector128.Create(0x7FFF_FFFF));
        float largest = BitConverter.Int32BitsToSingle(Math.Max(Math.Max(most[0], most[1]), Math.Max(most[2], most[3])));

        // With the keys that a cache can hold so small a query has scores of no more than 1e-20.
        float factor = largest < 1e-30f || !float.IsFinite(largest) ? 0 : LargestQuery / largest;
        for (nint i = 0; i < size; i += 8)
        {
            Vector128<int> low = Nearest(Vector128.Load(query + i) * factor), high = Nearest(Vector128.Load(query + i + 4) * factor);
            Vector128.Narrow(low, high).Store((short*)query + i);
        }

        return factor == 0 ? largest - largest : largest / LargestQuery;
    }

    /// <summary>The lower 16 bits of both: the first ones below.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Pair(TVector low, TVector high) => TLanes.Or(TLanes.And(low, TLanes.BroadcastBits(0xFFFF)), TLanes.ShiftLeft(high, 16));

    // The power of two that is no larger than a positive number; infinity for infinity and NaN.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Power(TVector value) => TLanes.And(value, TLanes.BroadcastBits(0x7F80_0000));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<int> Nearest(Vector128<float> value) => Vector128.ConvertToInt32Native(Vector128.Round(value));
}
