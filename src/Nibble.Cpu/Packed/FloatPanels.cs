using System.Runtime.CompilerServices;

namespace Nibble.Cpu.Packed;

/// <summary>Products of unpacked float32 rows and some tokens' float32 activations.</summary>
/// <remarks>A (row, token) pair has two sums, of the even and of the odd columns, from first to last, whatever the other tokens.</remarks>
internal static unsafe class FloatPanels<TLanes, TBytes, TVector>
    where TLanes : struct, IByteLanes<TBytes, TVector>
    where TBytes : struct
    where TVector : struct
{
    /// <summary>sums[t, 0, r] += products of the even columns of row r and token t of a tile of tokens, and sums[t, 1, r] those of the odd ones.</summary>
    /// <param name="panel">[columns x 16 rows] float32.</param>
    /// <param name="x">The tile of tokens (<see cref="TokenTiles"/>).</param>
    /// <param name="width">Its tokens: 4 or 8.</param>
    /// <param name="runs">Runs of 32 columns.</param>
    /// <param name="sums">[width x 2 x 16].</param>
    public static void Add(byte* panel, byte* x, int width, int runs, float* sums)
    {
        for (int row = 0; row < 16; row += TLanes.Count / 4)
        {
            for (int token = 0; token < width;)
            {
                bool isEight = TLanes.Count == 64 && width == 8;
                float* values = (float*)panel + row, tokens = (float*)x + token, own = sums + (32 * token) + row;
                if (isEight) Add8(values, tokens, width, runs * 32, own);
                else Add4(values, tokens, width, runs * 32, own);
                token += isEight ? 8 : 4;
            }
        }
    }

    /// <summary>What two calls of <see cref="Add"/> do, for vectors of 16 lanes, which come with the registers for it.</summary>
    /// <remarks>An activation is loaded once for both: with 512 bits, 109 instead of 94 GMAC/s on a Zen 5 core, where products that load their activation keep two multipliers waiting for two loads.</remarks>
    /// <param name="panel">[columns x 16 rows] float32.</param>
    /// <param name="next">Bytes from there to the other 16 rows.</param>
    /// <param name="x">The tile of tokens.</param>
    /// <param name="width">Its tokens: 4 or 8.</param>
    /// <param name="runs">Runs of 32 columns.</param>
    /// <param name="sums">[width x 2 x 16].</param>
    /// <param name="nextSums">Numbers from there to the sums of the other rows.</param>
    public static void AddTwo(byte* panel, long next, byte* x, int width, int runs, float* sums, long nextSums)
    {
        for (int token = 0; token < width; token += 4)
            AddTwo4((float*)panel, next / sizeof(float), (float*)x + token, width, runs * 32, sums + (32 * token), nextSums);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddTwo4(float* panel, long next, float* x, int width, int columns, float* sums, long nextSums)
    {
        float* others = sums + nextSums, odds = x + width;
        long step = 2 * width;
        TVector a0 = TLanes.Load(sums + (0 * 32)), a1 = TLanes.Load(sums + (1 * 32)), a2 = TLanes.Load(sums + (2 * 32)), a3 = TLanes.Load(sums + (3 * 32));
        TVector b0 = TLanes.Load(sums + (0 * 32) + 16), b1 = TLanes.Load(sums + (1 * 32) + 16), b2 = TLanes.Load(sums + (2 * 32) + 16), b3 = TLanes.Load(sums + (3 * 32) + 16);
        TVector c0 = TLanes.Load(others + (0 * 32)), c1 = TLanes.Load(others + (1 * 32)), c2 = TLanes.Load(others + (2 * 32)), c3 = TLanes.Load(others + (3 * 32));
        TVector d0 = TLanes.Load(others + (0 * 32) + 16), d1 = TLanes.Load(others + (1 * 32) + 16), d2 = TLanes.Load(others + (2 * 32) + 16), d3 = TLanes.Load(others + (3 * 32) + 16);
        for (; columns > 0; columns -= 2, panel += 32, x += step, odds += step)
        {
            TVector even = TLanes.Load(panel), odd = TLanes.Load(panel + 16), nextEven = TLanes.Load(panel + next), nextOdd = TLanes.Load(panel + next + 16);
            TVector token = TLanes.Broadcast(x[0]);
            a0 = TLanes.MultiplyAdd(even, token, a0);
            c0 = TLanes.MultiplyAdd(nextEven, token, c0);
            token = TLanes.Broadcast(x[1]);
            a1 = TLanes.MultiplyAdd(even, token, a1);
            c1 = TLanes.MultiplyAdd(nextEven, token, c1);
            token = TLanes.Broadcast(x[2]);
            a2 = TLanes.MultiplyAdd(even, token, a2);
            c2 = TLanes.MultiplyAdd(nextEven, token, c2);
            token = TLanes.Broadcast(x[3]);
            a3 = TLanes.MultiplyAdd(even, token, a3);
            c3 = TLanes.MultiplyAdd(nextEven, token, c3);
            token = TLanes.Broadcast(odds[0]);
            b0 = TLanes.MultiplyAdd(odd, token, b0);
            d0 = TLanes.MultiplyAdd(nextOdd, token, d0);
            token = TLanes.Broadcast(odds[1]);
            b1 = TLanes.MultiplyAdd(odd, token, b1);
            d1 = TLanes.MultiplyAdd(nextOdd, token, d1);
            token = TLanes.Broadcast(odds[2]);
            b2 = TLanes.MultiplyAdd(odd, token, b2);
            d2 = TLanes.MultiplyAdd(nextOdd, token, d2);
            token = TLanes.Broadcast(odds[3]);
            b3 = TLanes.MultiplyAdd(odd, token, b3);
            d3 = TLanes.MultiplyAdd(nextOdd, token, d3);
        }

        TLanes.Store(a0, sums + (0 * 32));
        TLanes.Store(a1, sums + (1 * 32));
        TLanes.Store(a2, sums + (2 * 32));
        TLanes.Store(a3, sums + (3 * 32));
        TLanes.Store(b0, sums + (0 * 32) + 16);
        TLanes.Store(b1, sums + (1 * 32) + 16);
        TLanes.Store(b2, sums + (2 * 32) + 16);
        TLanes.Store(b3, sums + (3 * 32) + 16);
        TLanes.Store(c0, others + (0 * 32));
        TLanes.Store(c1, others + (1 * 32));
        TLanes.Store(c2, others + (2 * 32));
        TLanes.Store(c3, others + (3 * 32));
        TLanes.Store(d0, others + (0 * 32) + 16);
        TLanes.Store(d1, others + (1 * 32) + 16);
        TLanes.Store(d2, others + (2 * 32) + 16);
        TLanes.Store(d3, others + (3 * 32) + 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Add8(float* panel, float* x, int width, int columns, float* sums)
    {
        TVector a0 = TLanes.Load(sums + (0 * 32)), a1 = TLanes.Load(sums + (1 * 32)), a2 = TLanes.Load(sums + (2 * 32)), a3 = TLanes.Load(sums + (3 * 32)), a4 = TLanes.Load(sums + (4 * 32)), a5 = TLanes.Load(sums + (5 * 32)), a6 = TLanes.Load(sums + (6 * 32)), a7 = TLanes.Load(sums + (7 * 32));
        TVector b0 = TLanes.Load(sums + (0 * 32) + 16), b1 = TLanes.Load(sums + (1 * 32) + 16), b2 = TLanes.Load(sums + (2 * 32) + 16), b3 = TLanes.Load(sums + (3 * 32) + 16), b4 = TLanes.Load(sums + (4 * 32) + 16), b5 = TLanes.Load(sums + (5 * 32) + 16), b6 = TLanes.Load(sums + (6 * 32) + 16), b7 = TLanes.Load(sums + (7 * 32) + 16);
        for (; columns > 0; columns -= 2, panel += 32, x += 2 * width)
        {
            TVector even = TLanes.Load(panel), odd = TLanes.Load(panel + 16);
            a0 = TLanes.MultiplyAdd(even, TLanes.Broadcast(x[0]), a0);
            b0 = TLanes.MultiplyAdd(odd, TLanes.Broadcast(x[width + 0]), b0);
            a1 = TLanes.MultiplyAdd(even, TLanes.Broadcast(x[1]), a1);
            b1 = TLanes.MultiplyAdd(odd, TLanes.Broadcast(x[width + 1]), b1);
            a2 = TLanes.MultiplyAdd(even, TLanes.Broadcast(x[2]), a2);
            b2 = TLanes.MultiplyAdd(odd, TLanes.Broadcast(x[width + 2]), b2);
            a3 = TLanes.MultiplyAdd(even, TLanes.Broadcast(x[3]), a3);
            b3 = TLanes.MultiplyAdd(odd, TLanes.Broadcast(x[width + 3]), b3);
            a4 = TLanes.MultiplyAdd(even, TLanes.Broadcast(x[4]), a4);
            b4 = TLanes.MultiplyAdd(odd, TLanes.Broadcast(x[width + 4]), b4);
            a5 = TLanes.MultiplyAdd(even, TLanes.Broadcast(x[5]), a5);
            b5 = TLanes.MultiplyAdd(odd, TLanes.Broadcast(x[width + 5]), b5);
            a6 = TLanes.MultiplyAdd(even, TLanes.Broadcast(x[6]), a6);
            b6 = TLanes.MultiplyAdd(odd, TLanes.Broadcast(x[width + 6]), b6);
            a7 = TLanes.MultiplyAdd(even, TLanes.Broadcast(x[7]), a7);
            b7 = TLanes.MultiplyAdd(odd, TLanes.Broadcast(x[width + 7]), b7);
        }

        TLanes.Store(a0, sums + (0 * 32));
        TLanes.Store(b0, sums + (0 * 32) + 16);
        TLanes.Store(a1, sums + (1 * 32));
        TLanes.Store(b1, sums + (1 * 32) + 16);
        TLanes.Store(a2, sums + (2 * 32));
        TLanes.Store(b2, sums + (2 * 32) + 16);
        TLanes.Store(a3, sums + (3 * 32));
        TLanes.Store(b3, sums + (3 * 32) + 16);
        TLanes.Store(a4, sums + (4 * 32));
        TLanes.Store(b4, sums + (4 * 32) + 16);
        TLanes.Store(a5, sums + (5 * 32));
        TLanes.Store(b5, sums + (5 * 32) + 16);
        TLanes.Store(a6, sums + (6 * 32));
        TLanes.Store(b6, sums + (6 * 32) + 16);
        TLanes.Store(a7, sums + (7 * 32));
        TLanes.Store(b7, sums + (7 * 32) + 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Add4(float* panel, float* x, int width, int columns, float* sums)
    {
        TVector a0 = TLanes.Load(sums + (0 * 32)), a1 = TLanes.Load(sums + (1 * 32)), a2 = TLanes.Load(sums + (2 * 32)), a3 = TLanes.Load(sums + (3 * 32));
        TVector b0 = TLanes.Load(sums + (0 * 32) + 16), b1 = TLanes.Load(sums + (1 * 32) + 16), b2 = TLanes.Load(sums + (2 * 32) + 16), b3 = TLanes.Load(sums + (3 * 32) + 16);
        for (; columns > 0; columns -= 2, panel += 32, x += 2 * width)
        {
            TVector even = TLanes.Load(panel), odd = TLanes.Load(panel + 16);
            a0 = TLanes.MultiplyAdd(even, TLanes.Broadcast(x[0]), a0);
            b0 = TLanes.MultiplyAdd(odd, TLanes.Broadcast(x[width + 0]), b0);
            a1 = TLanes.MultiplyAdd(even, TLanes.Broadcast(x[1]), a1);
            b1 = TLanes.MultiplyAdd(odd, TLanes.Broadcast(x[width + 1]), b1);
            a2 = TLanes.MultiplyAdd(even, TLanes.Broadcast(x[2]), a2);
            b2 = TLanes.MultiplyAdd(odd, TLanes.Broadcast(x[width + 2]), b2);
            a3 = TLanes.MultiplyAdd(even, TLanes.Broadcast(x[3]), a3);
            b3 = TLanes.MultiplyAdd(odd, TLanes.Broadcast(x[width + 3]), b3);
        }

        TLanes.Store(a0, sums + (0 * 32));
        TLanes.Store(b0, sums + (0 * 32) + 16);
        TLanes.Store(a1, sums + (1 * 32));
        TLanes.Store(b1, sums + (1 * 32) + 16);
        TLanes.Store(a2, sums + (2 * 32));
        TLanes.Store(b2, sums + (2 * 32) + 16);
        TLanes.Store(a3, sums + (3 * 32));
        TLanes.Store(b3, sums + (3 * 32) + 16);
    }
}
