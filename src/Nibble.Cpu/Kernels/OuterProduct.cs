using System.Runtime.CompilerServices;

namespace Nibble.Cpu.Kernels;

/// <summary>Small dense products in float32 whose operands lie in the caches: c = a b, or c += a b.</summary>
/// <remarks>Each value of c adds up its products in the order of k, whatever rows and columns are computed with it and however wide the vectors are.</remarks>
internal static unsafe class OuterProduct<TLanes, TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : struct
{
    /// <summary>Products that are summed up before they are added to the rest, where the sum shall be exact: shorter chains of sums round less.</summary>
    public const int Block = 8;

    /// <summary>c[i, j] = sum over k of a[i, k] b[k, j], and what c held before unless it is fresh.</summary>
    /// <param name="a">[rows x inner], rows <paramref name="aStride"/> apart.</param>
    /// <param name="aStride">Values from row to row.</param>
    /// <param name="b">[inner x columns], rows <paramref name="bStride"/> apart.</param>
    /// <param name="bStride">Values from row to row.</param>
    /// <param name="c">[rows x columns], rows <paramref name="cStride"/> apart, changed.</param>
    /// <param name="cStride">Values from row to row.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="first">The first k.</param>
    /// <param name="end">The k behind the last one; above <paramref name="first"/>.</param>
    /// <param name="columns">A multiple of 32.</param>
    /// <param name="exact">Whether sums are made of sums over blocks, which begin at multiples of <see cref="Block"/>; else they are one chain.</param>
    /// <param name="fresh">Whether c is overwritten.</param>
    public static void Add(float* a, nint aStride, float* b, nint bStride, float* c, nint cStride, int rows, nint first, nint end, nint columns, bool exact, bool fresh)
    {
        while (first < end)
        {
            nint next = exact ? Math.Min(end, (first & -Block) + Block) : end, inner = next - first;
            float* left = a + first, line = b + (first * bStride), sums = c;
            int row = 0;
            if (TLanes.HasManyRegisters)
            {
                for (; row <= rows - 8; row += 8, left += 8 * aStride, sums += 8 * cStride)
                    Rows8(left, aStride, inner, line, bStride, sums, cStride, columns, fresh);
            }
            else
            {
                for (; row <= rows - 6 && rows - row != 8; row += 6, left += 6 * aStride, sums += 6 * cStride)
                    Rows6(left, aStride, inner, line, bStride, sums, cStride, columns, fresh);
            }

            for (; row <= rows - 4; row += 4, left += 4 * aStride, sums += 4 * cStride)
                Rows4(left, aStride, inner, line, bStride, sums, cStride, columns, fresh);
            for (; row <= rows - 2; row += 2, left += 2 * aStride, sums += 2 * cStride)
                Rows2(left, aStride, inner, line, bStride, sums, cStride, columns, fresh);
            if (row < rows) Rows1(left, aStride, inner, line, bStride, sums, cStride, columns, fresh);
            first = next;
            fresh = false;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Put(TVector first, TVector second, float* sums, bool fresh)
    {
        if (!fresh)
        {
            first = TLanes.Add(first, TLanes.Load(sums));
            second = TLanes.Add(second, TLanes.Load(sums + TLanes.Count));
        }

        TLanes.Store(first, sums);
        TLanes.Store(second, sums + TLanes.Count);
    }

    // 8 rows of c, two vectors wide.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows8(float* a, nint aStride, nint inner, float* b, nint bStride, float* c, nint cStride, nint columns, bool fresh)
    {
        float* a0 = a, a1 = a0 + aStride, a2 = a1 + aStride, a3 = a2 + aStride, a4 = a3 + aStride, a5 = a4 + aStride, a6 = a5 + aStride, a7 = a6 + aStride;
        for (nint j = 0; j < columns; j += 2 * TLanes.Count)
        {
            TVector s00 = TLanes.Zero, s01 = TLanes.Zero;
            TVector s10 = TLanes.Zero, s11 = TLanes.Zero;
            TVector s20 = TLanes.Zero, s21 = TLanes.Zero;
            TVector s30 = TLanes.Zero, s31 = TLanes.Zero;
            TVector s40 = TLanes.Zero, s41 = TLanes.Zero;
            TVector s50 = TLanes.Zero, s51 = TLanes.Zero;
            TVector s60 = TLanes.Zero, s61 = TLanes.Zero;
            TVector s70 = TLanes.Zero, s71 = TLanes.Zero;
            float* line = b + j;
            for (nint k = 0; k < inner; k++, line += bStride)
            {
                TVector b0 = TLanes.Load(line), b1 = TLanes.Load(line + TLanes.Count);
                TVector value = TLanes.Broadcast(a0[k]);
                s00 = TLanes.MultiplyAdd(value, b0, s00);
                s01 = TLanes.MultiplyAdd(value, b1, s01);
                value = TLanes.Broadcast(a1[k]);
                s10 = TLanes.MultiplyAdd(value, b0, s10);
                s11 = TLanes.MultiplyAdd(value, b1, s11);
                value = TLanes.Broadcast(a2[k]);
                s20 = TLanes.MultiplyAdd(value, b0, s20);
                s21 = TLanes.MultiplyAdd(value, b1, s21);
                value = TLanes.Broadcast(a3[k]);
                s30 = TLanes.MultiplyAdd(value, b0, s30);
                s31 = TLanes.MultiplyAdd(value, b1, s31);
                value = TLanes.Broadcast(a4[k]);
                s40 = TLanes.MultiplyAdd(value, b0, s40);
                s41 = TLanes.MultiplyAdd(value, b1, s41);
                value = TLanes.Broadcast(a5[k]);
                s50 = TLanes.MultiplyAdd(value, b0, s50);
                s51 = TLanes.MultiplyAdd(value, b1, s51);
                value = TLanes.Broadcast(a6[k]);
                s60 = TLanes.MultiplyAdd(value, b0, s60);
                s61 = TLanes.MultiplyAdd(value, b1, s61);
                value = TLanes.Broadcast(a7[k]);
                s70 = TLanes.MultiplyAdd(value, b0, s70);
                s71 = TLanes.MultiplyAdd(value, b1, s71);
            }

            float* sums = c + j;
            Put(s00, s01, sums, fresh);
            sums += cStride;
            Put(s10, s11, sums, fresh);
            sums += cStride;
            Put(s20, s21, sums, fresh);
            sums += cStride;
            Put(s30, s31, sums, fresh);
            sums += cStride;
            Put(s40, s41, sums, fresh);
            sums += cStride;
            Put(s50, s51, sums, fresh);
            sums += cStride;
            Put(s60, s61, sums, fresh);
            sums += cStride;
            Put(s70, s71, sums, fresh);
        }
    }

    // 6 rows of c, two vectors wide.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows6(float* a, nint aStride, nint inner, float* b, nint bStride, float* c, nint cStride, nint columns, bool fresh)
    {
        float* a0 = a, a1 = a0 + aStride, a2 = a1 + aStride, a3 = a2 + aStride, a4 = a3 + aStride, a5 = a4 + aStride;
        for (nint j = 0; j < columns; j += 2 * TLanes.Count)
        {
            TVector s00 = TLanes.Zero, s01 = TLanes.Zero;
            TVector s10 = TLanes.Zero, s11 = TLanes.Zero;
            TVector s20 = TLanes.Zero, s21 = TLanes.Zero;
            TVector s30 = TLanes.Zero, s31 = TLanes.Zero;
            TVector s40 = TLanes.Zero, s41 = TLanes.Zero;
            TVector s50 = TLanes.Zero, s51 = TLanes.Zero;
            float* line = b + j;
            for (nint k = 0; k < inner; k++, line += bStride)
            {
                TVector b0 = TLanes.Load(line), b1 = TLanes.Load(line + TLanes.Count);
                TVector value = TLanes.Broadcast(a0[k]);
                s00 = TLanes.MultiplyAdd(value, b0, s00);
                s01 = TLanes.MultiplyAdd(value, b1, s01);
                value = TLanes.Broadcast(a1[k]);
                s10 = TLanes.MultiplyAdd(value, b0, s10);
                s11 = TLanes.MultiplyAdd(value, b1, s11);
                value = TLanes.Broadcast(a2[k]);
                s20 = TLanes.MultiplyAdd(value, b0, s20);
                s21 = TLanes.MultiplyAdd(value, b1, s21);
                value = TLanes.Broadcast(a3[k]);
                s30 = TLanes.MultiplyAdd(value, b0, s30);
                s31 = TLanes.MultiplyAdd(value, b1, s31);
                value = TLanes.Broadcast(a4[k]);
                s40 = TLanes.MultiplyAdd(value, b0, s40);
                s41 = TLanes.MultiplyAdd(value, b1, s41);
                value = TLanes.Broadcast(a5[k]);
                s50 = TLanes.MultiplyAdd(value, b0, s50);
                s51 = TLanes.MultiplyAdd(value, b1, s51);
            }

            float* sums = c + j;
            Put(s00, s01, sums, fresh);
            sums += cStride;
            Put(s10, s11, sums, fresh);
            sums += cStride;
            Put(s20, s21, sums, fresh);
            sums += cStride;
            Put(s30, s31, sums, fresh);
            sums += cStride;
            Put(s40, s41, sums, fresh);
            sums += cStride;
            Put(s50, s51, sums, fresh);
        }
    }

    // 4 rows of c, two vectors wide.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows4(float* a, nint aStride, nint inner, float* b, nint bStride, float* c, nint cStride, nint columns, bool fresh)
    {
        float* a0 = a, a1 = a0 + aStride, a2 = a1 + aStride, a3 = a2 + aStride;
        for (nint j = 0; j < columns; j += 2 * TLanes.Count)
        {
            TVector s00 = TLanes.Zero, s01 = TLanes.Zero;
            TVector s10 = TLanes.Zero, s11 = TLanes.Zero;
            TVector s20 = TLanes.Zero, s21 = TLanes.Zero;
            TVector s30 = TLanes.Zero, s31 = TLanes.Zero;
            float* line = b + j;
            for (nint k = 0; k < inner; k++, line += bStride)
            {
                TVector b0 = TLanes.Load(line), b1 = TLanes.Load(line + TLanes.Count);
                TVector value = TLanes.Broadcast(a0[k]);
                s00 = TLanes.MultiplyAdd(value, b0, s00);
                s01 = TLanes.MultiplyAdd(value, b1, s01);
                value = TLanes.Broadcast(a1[k]);
                s10 = TLanes.MultiplyAdd(value, b0, s10);
                s11 = TLanes.MultiplyAdd(value, b1, s11);
                value = TLanes.Broadcast(a2[k]);
                s20 = TLanes.MultiplyAdd(value, b0, s20);
                s21 = TLanes.MultiplyAdd(value, b1, s21);
                value = TLanes.Broadcast(a3[k]);
                s30 = TLanes.MultiplyAdd(value, b0, s30);
                s31 = TLanes.MultiplyAdd(value, b1, s31);
            }

            float* sums = c + j;
            Put(s00, s01, sums, fresh);
            sums += cStride;
            Put(s10, s11, sums, fresh);
            sums += cStride;
            Put(s20, s21, sums, fresh);
            sums += cStride;
            Put(s30, s31, sums, fresh);
        }
    }

    // 2 rows of c, two vectors wide.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows2(float* a, nint aStride, nint inner, float* b, nint bStride, float* c, nint cStride, nint columns, bool fresh)
    {
        float* a0 = a, a1 = a0 + aStride;
        for (nint j = 0; j < columns; j += 2 * TLanes.Count)
        {
            TVector s00 = TLanes.Zero, s01 = TLanes.Zero;
            TVector s10 = TLanes.Zero, s11 = TLanes.Zero;
            float* line = b + j;
            for (nint k = 0; k < inner; k++, line += bStride)
            {
                TVector b0 = TLanes.Load(line), b1 = TLanes.Load(line + TLanes.Count);
                TVector value = TLanes.Broadcast(a0[k]);
                s00 = TLanes.MultiplyAdd(value, b0, s00);
                s01 = TLanes.MultiplyAdd(value, b1, s01);
                value = TLanes.Broadcast(a1[k]);
                s10 = TLanes.MultiplyAdd(value, b0, s10);
                s11 = TLanes.MultiplyAdd(value, b1, s11);
            }

            float* sums = c + j;
            Put(s00, s01, sums, fresh);
            sums += cStride;
            Put(s10, s11, sums, fresh);
        }
    }

    // 1 row of c, two vectors wide.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows1(float* a0, nint aStride, nint inner, float* b, nint bStride, float* c, nint cStride, nint columns, bool fresh)
    {
        for (nint j = 0; j < columns; j += 2 * TLanes.Count)
        {
            TVector s00 = TLanes.Zero, s01 = TLanes.Zero;
            float* line = b + j;
            for (nint k = 0; k < inner; k++, line += bStride)
            {
                TVector b0 = TLanes.Load(line), b1 = TLanes.Load(line + TLanes.Count);
                TVector value = TLanes.Broadcast(a0[k]);
                s00 = TLanes.MultiplyAdd(value, b0, s00);
                s01 = TLanes.MultiplyAdd(value, b1, s01);
            }

            float* sums = c + j;
            Put(s00, s01, sums, fresh);
        }
    }
}
