using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Nibble.Cpu.Kernels;

/// <summary>Dot products of 4 rows of float32 weights and up to 4 tokens.</summary>
/// <remarks>
/// One (row, token) pair has 16 sums: lane i adds the products of columns i, i + 16, i + 32 ... in this order; <see cref="Lanes16"/> adds the lanes.
/// Narrower vectors make several passes. So its bits depend neither on the tile it falls into, nor on the width of the vectors.
/// </remarks>
internal static unsafe class FloatTiles<TLanes, TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : struct
{
    /// <summary>sums[t, r] = sum over k of weights[r, k] x[t, k].</summary>
    /// <param name="weights">[4] rows.</param>
    /// <param name="x">[tokens] activations.</param>
    /// <param name="tokens">1, 2 or 4.</param>
    /// <param name="columns">Values in a row; a multiple of 16.</param>
    /// <param name="lanes">[256] scratch.</param>
    /// <param name="sums">[tokens x 4], overwritten.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Dot(float** weights, float** x, int tokens, nint columns, float* lanes, float* sums)
    {
        if (tokens == 4) Tile4(weights, x, columns, lanes, sums);
        else if (tokens == 2) Tile2(weights, x, columns, lanes, sums);
        else Tile1(weights, x, columns, lanes, sums);
    }

    /// <summary>sums[t, r] = sum over k of weights[r, k] x[t, k], 4 rows x 4 tokens.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile4(float** weights, float** x, nint columns, float* lanes, float* sums)
    {
        float* w0 = weights[0], w1 = weights[1], w2 = weights[2], w3 = weights[3];
        float* x0 = x[0], x1 = x[1], x2 = x[2], x3 = x[3];
        for (int pass = 0; pass < 16; pass += TLanes.Count)
        {
            TVector s00 = TLanes.Zero, s01 = TLanes.Zero, s02 = TLanes.Zero, s03 = TLanes.Zero;
            TVector s10 = TLanes.Zero, s11 = TLanes.Zero, s12 = TLanes.Zero, s13 = TLanes.Zero;
            TVector s20 = TLanes.Zero, s21 = TLanes.Zero, s22 = TLanes.Zero, s23 = TLanes.Zero;
            TVector s30 = TLanes.Zero, s31 = TLanes.Zero, s32 = TLanes.Zero, s33 = TLanes.Zero;
            for (nint k = pass; k < columns; k += 16)
            {
                TVector a0 = TLanes.Load(x0 + k), a1 = TLanes.Load(x1 + k), a2 = TLanes.Load(x2 + k), a3 = TLanes.Load(x3 + k);
                TVector w = TLanes.Load(w0 + k);
                s00 = TLanes.MultiplyAdd(w, a0, s00);
                s10 = TLanes.MultiplyAdd(w, a1, s10);
                s20 = TLanes.MultiplyAdd(w, a2, s20);
                s30 = TLanes.MultiplyAdd(w, a3, s30);
                w = TLanes.Load(w1 + k);
                s01 = TLanes.MultiplyAdd(w, a0, s01);
                s11 = TLanes.MultiplyAdd(w, a1, s11);
                s21 = TLanes.MultiplyAdd(w, a2, s21);
                s31 = TLanes.MultiplyAdd(w, a3, s31);
                w = TLanes.Load(w2 + k);
                s02 = TLanes.MultiplyAdd(w, a0, s02);
                s12 = TLanes.MultiplyAdd(w, a1, s12);
                s22 = TLanes.MultiplyAdd(w, a2, s22);
                s32 = TLanes.MultiplyAdd(w, a3, s32);
                w = TLanes.Load(w3 + k);
                s03 = TLanes.MultiplyAdd(w, a0, s03);
                s13 = TLanes.MultiplyAdd(w, a1, s13);
                s23 = TLanes.MultiplyAdd(w, a2, s23);
                s33 = TLanes.MultiplyAdd(w, a3, s33);
            }

            TLanes.Store(s00, lanes + pass + 0);
            TLanes.Store(s01, lanes + pass + 16);
            TLanes.Store(s02, lanes + pass + 32);
            TLanes.Store(s03, lanes + pass + 48);
            TLanes.Store(s10, lanes + pass + 64);
            TLanes.Store(s11, lanes + pass + 80);
            TLanes.Store(s12, lanes + pass + 96);
            TLanes.Store(s13, lanes + pass + 112);
            TLanes.Store(s20, lanes + pass + 128);
            TLanes.Store(s21, lanes + pass + 144);
            TLanes.Store(s22, lanes + pass + 160);
            TLanes.Store(s23, lanes + pass + 176);
            TLanes.Store(s30, lanes + pass + 192);
            TLanes.Store(s31, lanes + pass + 208);
            TLanes.Store(s32, lanes + pass + 224);
            TLanes.Store(s33, lanes + pass + 240);
        }

        Lanes16.Sum4(lanes).Store(sums);
        Lanes16.Sum4(lanes + 64).Store(sums + 4);
        Lanes16.Sum4(lanes + 128).Store(sums + 8);
        Lanes16.Sum4(lanes + 192).Store(sums + 12);
    }

    /// <summary>sums[t, r] = sum over k of weights[r, k] x[t, k], 4 rows x 2 tokens.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile2(float** weights, float** x, nint columns, float* lanes, float* sums)
    {
        float* w0 = weights[0], w1 = weights[1], w2 = weights[2], w3 = weights[3];
        float* x0 = x[0], x1 = x[1];
        for (int pass = 0; pass < 16; pass += TLanes.Count)
        {
            TVector s00 = TLanes.Zero, s01 = TLanes.Zero, s02 = TLanes.Zero, s03 = TLanes.Zero;
            TVector s10 = TLanes.Zero, s11 = TLanes.Zero, s12 = TLanes.Zero, s13 = TLanes.Zero;
            for (nint k = pass; k < columns; k += 16)
            {
                TVector a0 = TLanes.Load(x0 + k), a1 = TLanes.Load(x1 + k);
                TVector w = TLanes.Load(w0 + k);
                s00 = TLanes.MultiplyAdd(w, a0, s00);
                s10 = TLanes.MultiplyAdd(w, a1, s10);
                w = TLanes.Load(w1 + k);
                s01 = TLanes.MultiplyAdd(w, a0, s01);
                s11 = TLanes.MultiplyAdd(w, a1, s11);
                w = TLanes.Load(w2 + k);
                s02 = TLanes.MultiplyAdd(w, a0, s02);
                s12 = TLanes.MultiplyAdd(w, a1, s12);
                w = TLanes.Load(w3 + k);
                s03 = TLanes.MultiplyAdd(w, a0, s03);
                s13 = TLanes.MultiplyAdd(w, a1, s13);
            }

            TLanes.Store(s00, lanes + pass + 0);
            TLanes.Store(s01, lanes + pass + 16);
            TLanes.Store(s02, lanes + pass + 32);
            TLanes.Store(s03, lanes + pass + 48);
            TLanes.Store(s10, lanes + pass + 64);
            TLanes.Store(s11, lanes + pass + 80);
            TLanes.Store(s12, lanes + pass + 96);
            TLanes.Store(s13, lanes + pass + 112);
        }

        Lanes16.Sum4(lanes).Store(sums);
        Lanes16.Sum4(lanes + 64).Store(sums + 4);
    }

    /// <summary>sums[t, r] = sum over k of weights[r, k] x[t, k], 4 rows x 1 token.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile1(float** weights, float** x, nint columns, float* lanes, float* sums)
    {
        float* w0 = weights[0], w1 = weights[1], w2 = weights[2], w3 = weights[3];
        float* x0 = x[0];
        for (int pass = 0; pass < 16; pass += TLanes.Count)
        {
            TVector s00 = TLanes.Zero, s01 = TLanes.Zero, s02 = TLanes.Zero, s03 = TLanes.Zero;
            for (nint k = pass; k < columns; k += 16)
            {
                TVector a0 = TLanes.Load(x0 + k);
                TVector w = TLanes.Load(w0 + k);
                s00 = TLanes.MultiplyAdd(w, a0, s00);
                w = TLanes.Load(w1 + k);
                s01 = TLanes.MultiplyAdd(w, a0, s01);
                w = TLanes.Load(w2 + k);
                s02 = TLanes.MultiplyAdd(w, a0, s02);
                w = TLanes.Load(w3 + k);
                s03 = TLanes.MultiplyAdd(w, a0, s03);
            }

            TLanes.Store(s00, lanes + pass + 0);
            TLanes.Store(s01, lanes + pass + 16);
            TLanes.Store(s02, lanes + pass + 32);
            TLanes.Store(s03, lanes + pass + 48);
        }

        Lanes16.Sum4(lanes).Store(sums);
    }
}
