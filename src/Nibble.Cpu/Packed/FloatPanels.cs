using System.Runtime.CompilerServices;

namespace Nibble.Cpu.Packed;

/// <summary>Products of unpacked float32 rows and some tokens' float32 activations.</summary>
/// <remarks>A (row, token) pair has two sums, of the even and of the odd columns, from first to last, whatever the other tokens.</remarks>
internal static unsafe class FloatPanels<TLanes, TBytes, TVector>
    where TLanes : struct, IByteLanes<TBytes, TVector>
    where TBytes : struct
    where TVector : struct
{
    /// <summary>results[t, r] = products of row r and token t of a tile of tokens.</summary>
    /// <param name="panel">[columns x 16 rows] float32.</param>
    /// <param name="x">The tile of tokens (<see cref="TokenTiles.PutFloats"/>).</param>
    /// <param name="width">Its tokens: 4 or 8.</param>
    /// <param name="runs">Runs of 32 columns.</param>
    /// <param name="results">[width x 16], overwritten.</param>
    public static void Add(byte* panel, byte* x, int width, int runs, float* results)
    {
        for (int row = 0; row < 16; row += TLanes.Count / 4)
        {
            for (int token = 0; token < width;)
            {
                bool isEight = TLanes.Count == 64 && width == 8;
                float* values = (float*)panel + row, tokens = (float*)x + token, sums = results + (16 * token) + row;
                if (isEight) Add8(values, tokens, width, runs * 32, sums);
                else Add4(values, tokens, width, runs * 32, sums);
                token += isEight ? 8 : 4;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Add8(float* panel, float* x, int width, int columns, float* results)
    {
        TVector a0 = TLanes.Broadcast(0), a1 = TLanes.Broadcast(0), a2 = TLanes.Broadcast(0), a3 = TLanes.Broadcast(0), a4 = TLanes.Broadcast(0), a5 = TLanes.Broadcast(0), a6 = TLanes.Broadcast(0), a7 = TLanes.Broadcast(0);
        TVector b0 = TLanes.Broadcast(0), b1 = TLanes.Broadcast(0), b2 = TLanes.Broadcast(0), b3 = TLanes.Broadcast(0), b4 = TLanes.Broadcast(0), b5 = TLanes.Broadcast(0), b6 = TLanes.Broadcast(0), b7 = TLanes.Broadcast(0);
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

        TLanes.Store(TLanes.Add(a0, b0), results + (0 * 16));
        TLanes.Store(TLanes.Add(a1, b1), results + (1 * 16));
        TLanes.Store(TLanes.Add(a2, b2), results + (2 * 16));
        TLanes.Store(TLanes.Add(a3, b3), results + (3 * 16));
        TLanes.Store(TLanes.Add(a4, b4), results + (4 * 16));
        TLanes.Store(TLanes.Add(a5, b5), results + (5 * 16));
        TLanes.Store(TLanes.Add(a6, b6), results + (6 * 16));
        TLanes.Store(TLanes.Add(a7, b7), results + (7 * 16));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Add4(float* panel, float* x, int width, int columns, float* results)
    {
        TVector a0 = TLanes.Broadcast(0), a1 = TLanes.Broadcast(0), a2 = TLanes.Broadcast(0), a3 = TLanes.Broadcast(0);
        TVector b0 = TLanes.Broadcast(0), b1 = TLanes.Broadcast(0), b2 = TLanes.Broadcast(0), b3 = TLanes.Broadcast(0);
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

        TLanes.Store(TLanes.Add(a0, b0), results + (0 * 16));
        TLanes.Store(TLanes.Add(a1, b1), results + (1 * 16));
        TLanes.Store(TLanes.Add(a2, b2), results + (2 * 16));
        TLanes.Store(TLanes.Add(a3, b3), results + (3 * 16));
    }
}
