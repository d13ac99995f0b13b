using System.Runtime.CompilerServices;

namespace Nibble.Cpu.Kernels;

/// <summary>Small dense products in float32: c += a b.</summary>
/// <remarks>Each value adds up <see cref="Block"/> products in the order of k, then the sums of the blocks, whatever the width of the vectors: shorter chains of sums round less.</remarks>
internal static unsafe class OuterProduct<TLanes, TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : struct
{
    private const int Block = 8;

    /// <summary>c[i, j] = c[i, j] + sum over k of a[i, k] b[k, j].</summary>
    /// <param name="a">[rows x inner], rows <paramref name="aStride"/> apart.</param>
    /// <param name="aStride">Values from row to row.</param>
    /// <param name="b">[inner x columns].</param>
    /// <param name="c">[rows x columns], changed.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="inner">Products in a sum.</param>
    /// <param name="columns">A multiple of 32.</param>
    public static void Add(float* a, nint aStride, float* b, float* c, int rows, nint inner, nint columns)
    {
        for (nint k = 0; k < inner; k += Block)
        {
            nint count = Math.Min(Block, inner - k);
            float* left = a + k, line = b + (k * columns), sum = c;
            int row = 0;
            for (; row <= rows - 4; row += 4, left += 4 * aStride, sum += 4 * columns)
                Rows4(left, left + aStride, left + (2 * aStride), left + (3 * aStride), count, line, columns, sum, sum + columns, sum + (2 * columns), sum + (3 * columns));
            for (; row < rows; row++, left += aStride, sum += columns)
                Rows1(left, count, line, columns, sum);
        }
    }

    // 4 rows of c, two vectors wide.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows4(float* a0, float* a1, float* a2, float* a3, nint inner, float* b, nint columns, float* c0, float* c1, float* c2, float* c3)
    {
        nint width = 2 * TLanes.Count;
        for (nint j = 0; j < columns; j += width)
        {
            TVector s00 = TLanes.Zero, s01 = TLanes.Zero;
            TVector s10 = TLanes.Zero, s11 = TLanes.Zero;
            TVector s20 = TLanes.Zero, s21 = TLanes.Zero;
            TVector s30 = TLanes.Zero, s31 = TLanes.Zero;
            float* line = b + j;
            for (nint k = 0; k < inner; k++, line += columns)
            {
                TVector b0 = TLanes.Load(line), b1 = TLanes.Load(line + TLanes.Count);
                TVector a = TLanes.Broadcast(a0[k]);
                s00 = TLanes.MultiplyAdd(a, b0, s00);
                s01 = TLanes.MultiplyAdd(a, b1, s01);
                a = TLanes.Broadcast(a1[k]);
                s10 = TLanes.MultiplyAdd(a, b0, s10);
                s11 = TLanes.MultiplyAdd(a, b1, s11);
                a = TLanes.Broadcast(a2[k]);
                s20 = TLanes.MultiplyAdd(a, b0, s20);
                s21 = TLanes.MultiplyAdd(a, b1, s21);
                a = TLanes.Broadcast(a3[k]);
                s30 = TLanes.MultiplyAdd(a, b0, s30);
                s31 = TLanes.MultiplyAdd(a, b1, s31);
            }

            TLanes.Store(TLanes.Add(TLanes.Load(c0 + j), s00), c0 + j);
            TLanes.Store(TLanes.Add(TLanes.Load(c0 + j + TLanes.Count), s01), c0 + j + TLanes.Count);
            TLanes.Store(TLanes.Add(TLanes.Load(c1 + j), s10), c1 + j);
            TLanes.Store(TLanes.Add(TLanes.Load(c1 + j + TLanes.Count), s11), c1 + j + TLanes.Count);
            TLanes.Store(TLanes.Add(TLanes.Load(c2 + j), s20), c2 + j);
            TLanes.Store(TLanes.Add(TLanes.Load(c2 + j + TLanes.Count), s21), c2 + j + TLanes.Count);
            TLanes.Store(TLanes.Add(TLanes.Load(c3 + j), s30), c3 + j);
            TLanes.Store(TLanes.Add(TLanes.Load(c3 + j + TLanes.Count), s31), c3 + j + TLanes.Count);
        }
    }

    // 1 row of c, two vectors wide.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows1(float* a0, nint inner, float* b, nint columns, float* c0)
    {
        nint width = 2 * TLanes.Count;
        for (nint j = 0; j < columns; j += width)
        {
            TVector s00 = TLanes.Zero, s01 = TLanes.Zero;
            float* line = b + j;
            for (nint k = 0; k < inner; k++, line += columns)
            {
                TVector b0 = TLanes.Load(line), b1 = TLanes.Load(line + TLanes.Count);
                TVector a = TLanes.Broadcast(a0[k]);
                s00 = TLanes.MultiplyAdd(a, b0, s00);
                s01 = TLanes.MultiplyAdd(a, b1, s01);
            }

            TLanes.Store(TLanes.Add(TLanes.Load(c0 + j), s00), c0 + j);
            TLanes.Store(TLanes.Add(TLanes.Load(c0 + j + TLanes.Count), s01), c0 + j + TLanes.Count);
        }
    }
}
