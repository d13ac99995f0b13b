using System.Runtime.CompilerServices;

namespace Nibble.Cpu.Kernels;

/// <summary>Small dense products of signed 16-bit integers whose operands lie in the caches, with a scale for each row and each column: on x86 twice as many products in an instruction as <see cref="OuterProduct{TLanes, TVector}"/>.</summary>
/// <remarks>Sums are exact, so it makes no difference what is computed with them or how wide the vectors are. Two rows of b lie in the lower and upper halves of one row of 32 bits: a pair.</remarks>
internal static unsafe class PairProduct<TLanes, TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : struct
{
    /// <summary>c[i, j] = rowScales[i] columnScales[j] (sum over k of a[i, k] b[k, j]), and what c held before unless it is fresh.</summary>
    /// <param name="a">[rows x inner] pairs, rows <paramref name="aStride"/> apart.</param>
    /// <param name="aStride">Pairs from row to row.</param>
    /// <param name="b">[inner x columns] pairs, rows <paramref name="bStride"/> apart.</param>
    /// <param name="bStride">Pairs from row to row.</param>
    /// <param name="c">[rows x columns], rows <paramref name="cStride"/> apart, changed.</param>
    /// <param name="cStride">Values from row to row.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="inner">Pairs; sums of their products are below 2^31.</param>
    /// <param name="columns">A multiple of 32.</param>
    /// <param name="rowScales">[rows].</param>
    /// <param name="columnScales">[columns], or null for 1.</param>
    /// <param name="fresh">Whether c is overwritten.</param>
    public static void Add(int* a, nint aStride, float* b, nint bStride, float* c, nint cStride, int rows, nint inner, nint columns, float* rowScales, float* columnScales, bool fresh)
    {
        int row = 0;
        if (TLanes.HasManyRegisters)
        {
            for (; row <= rows - 8; row += 8, a += 8 * aStride, c += 8 * cStride, rowScales += 8)
                Rows8(a, aStride, inner, b, bStride, c, cStride, columns, rowScales, columnScales, fresh);
        }

        for (; row <= rows - 4; row += 4, a += 4 * aStride, c += 4 * cStride, rowScales += 4)
            Rows4(a, aStride, inner, b, bStride, c, cStride, columns, rowScales, columnScales, fresh);
        for (; row <= rows - 2; row += 2, a += 2 * aStride, c += 2 * cStride, rowScales += 2)
            Rows2(a, aStride, inner, b, bStride, c, cStride, columns, rowScales, columnScales, fresh);
        if (row < rows) Rows1(a, inner, b, bStride, c, columns, rowScales, columnScales, fresh);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Put(TVector first, TVector second, float rowScale, float* columnScales, float* sums, bool fresh)
    {
        TVector firstScale = TLanes.Broadcast(rowScale), secondScale = firstScale;
        if (columnScales != null)
        {
            firstScale = TLanes.Multiply(firstScale, TLanes.Load(columnScales));
            secondScale = TLanes.Multiply(secondScale, TLanes.Load(columnScales + TLanes.Count));
        }

        (first, second) = (TLanes.ToFloat(first), TLanes.ToFloat(second));
        if (fresh)
        {
            TLanes.Store(TLanes.Multiply(first, firstScale), sums);
            TLanes.Store(TLanes.Multiply(second, secondScale), sums + TLanes.Count);
        }
        else
        {
            TLanes.Store(TLanes.MultiplyAdd(first, firstScale, TLanes.Load(sums)), sums);
            TLanes.Store(TLanes.MultiplyAdd(second, secondScale, TLanes.Load(sums + TLanes.Count)), sums + TLanes.Count);
        }
    }

    // 8 rows of c, two vectors wide.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows8(int* a0, nint aStride, nint inner, float* b, nint bStride, float* c, nint cStride, nint columns, float* rowScales, float* columnScales, bool fresh)
    {
        int* a1 = a0 + aStride, a2 = a1 + aStride, a3 = a2 + aStride, a4 = a3 + aStride, a5 = a4 + aStride, a6 = a5 + aStride, a7 = a6 + aStride;
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
                TVector pair = TLanes.BroadcastBits((uint)a0[k]);
                s00 = TLanes.AddIntegers(s00, TLanes.MultiplyPairs(pair, b0));
                s01 = TLanes.AddIntegers(s01, TLanes.MultiplyPairs(pair, b1));
                pair = TLanes.BroadcastBits((uint)a1[k]);
                s10 = TLanes.AddIntegers(s10, TLanes.MultiplyPairs(pair, b0));
                s11 = TLanes.AddIntegers(s11, TLanes.MultiplyPairs(pair, b1));
                pair = TLanes.BroadcastBits((uint)a2[k]);
                s20 = TLanes.AddIntegers(s20, TLanes.MultiplyPairs(pair, b0));
                s21 = TLanes.AddIntegers(s21, TLanes.MultiplyPairs(pair, b1));
                pair = TLanes.BroadcastBits((uint)a3[k]);
                s30 = TLanes.AddIntegers(s30, TLanes.MultiplyPairs(pair, b0));
                s31 = TLanes.AddIntegers(s31, TLanes.MultiplyPairs(pair, b1));
                pair = TLanes.BroadcastBits((uint)a4[k]);
                s40 = TLanes.AddIntegers(s40, TLanes.MultiplyPairs(pair, b0));
                s41 = TLanes.AddIntegers(s41, TLanes.MultiplyPairs(pair, b1));
                pair = TLanes.BroadcastBits((uint)a5[k]);
                s50 = TLanes.AddIntegers(s50, TLanes.MultiplyPairs(pair, b0));
                s51 = TLanes.AddIntegers(s51, TLanes.MultiplyPairs(pair, b1));
                pair = TLanes.BroadcastBits((uint)a6[k]);
                s60 = TLanes.AddIntegers(s60, TLanes.MultiplyPairs(pair, b0));
                s61 = TLanes.AddIntegers(s61, TLanes.MultiplyPairs(pair, b1));
                pair = TLanes.BroadcastBits((uint)a7[k]);
                s70 = TLanes.AddIntegers(s70, TLanes.MultiplyPairs(pair, b0));
                s71 = TLanes.AddIntegers(s71, TLanes.MultiplyPairs(pair, b1));
            }

            float* sums = c + j, scales = columnScales == null ? null : columnScales + j;
            Put(s00, s01, rowScales[0], scales, sums, fresh);
            sums += cStride;
            Put(s10, s11, rowScales[1], scales, sums, fresh);
            sums += cStride;
            Put(s20, s21, rowScales[2], scales, sums, fresh);
            sums += cStride;
            Put(s30, s31, rowScales[3], scales, sums, fresh);
            sums += cStride;
            Put(s40, s41, rowScales[4], scales, sums, fresh);
            sums += cStride;
            Put(s50, s51, rowScales[5], scales, sums, fresh);
            sums += cStride;
            Put(s60, s61, rowScales[6], scales, sums, fresh);
            sums += cStride;
            Put(s70, s71, rowScales[7], scales, sums, fresh);
        }
    }

    // 4 rows of c, two vectors wide.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows4(int* a0, nint aStride, nint inner, float* b, nint bStride, float* c, nint cStride, nint columns, float* rowScales, float* columnScales, bool fresh)
    {
        int* a1 = a0 + aStride, a2 = a1 + aStride, a3 = a2 + aStride;
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
                TVector pair = TLanes.BroadcastBits((uint)a0[k]);
                s00 = TLanes.AddIntegers(s00, TLanes.MultiplyPairs(pair, b0));
                s01 = TLanes.AddIntegers(s01, TLanes.MultiplyPairs(pair, b1));
                pair = TLanes.BroadcastBits((uint)a1[k]);
                s10 = TLanes.AddIntegers(s10, TLanes.MultiplyPairs(pair, b0));
                s11 = TLanes.AddIntegers(s11, TLanes.MultiplyPairs(pair, b1));
                pair = TLanes.BroadcastBits((uint)a2[k]);
                s20 = TLanes.AddIntegers(s20, TLanes.MultiplyPairs(pair, b0));
                s21 = TLanes.AddIntegers(s21, TLanes.MultiplyPairs(pair, b1));
                pair = TLanes.BroadcastBits((uint)a3[k]);
                s30 = TLanes.AddIntegers(s30, TLanes.MultiplyPairs(pair, b0));
                s31 = TLanes.AddIntegers(s31, TLanes.MultiplyPairs(pair, b1));
            }

            float* sums = c + j, scales = columnScales == null ? null : columnScales + j;
            Put(s00, s01, rowScales[0], scales, sums, fresh);
            sums += cStride;
            Put(s10, s11, rowScales[1], scales, sums, fresh);
            sums += cStride;
            Put(s20, s21, rowScales[2], scales, sums, fresh);
            sums += cStride;
            Put(s30, s31, rowScales[3], scales, sums, fresh);
        }
    }

    // 2 rows of c, two vectors wide.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows2(int* a0, nint aStride, nint inner, float* b, nint bStride, float* c, nint cStride, nint columns, float* rowScales, float* columnScales, bool fresh)
    {
        int* a1 = a0 + aStride;
        for (nint j = 0; j < columns; j += 2 * TLanes.Count)
        {
            TVector s00 = TLanes.Zero, s01 = TLanes.Zero;
            TVector s10 = TLanes.Zero, s11 = TLanes.Zero;
            float* line = b + j;
            for (nint k = 0; k < inner; k++, line += bStride)
            {
                TVector b0 = TLanes.Load(line), b1 = TLanes.Load(line + TLanes.Count);
                TVector pair = TLanes.BroadcastBits((uint)a0[k]);
                s00 = TLanes.AddIntegers(s00, TLanes.MultiplyPairs(pair, b0));
                s01 = TLanes.AddIntegers(s01, TLanes.MultiplyPairs(pair, b1));
                pair = TLanes.BroadcastBits((uint)a1[k]);
                s10 = TLanes.AddIntegers(s10, TLanes.MultiplyPairs(pair, b0));
                s11 = TLanes.AddIntegers(s11, TLanes.MultiplyPairs(pair, b1));
            }

            float* sums = c + j, scales = columnScales == null ? null : columnScales + j;
            Put(s00, s01, rowScales[0], scales, sums, fresh);
            sums += cStride;
            Put(s10, s11, rowScales[1], scales, sums, fresh);
        }
    }

    // 1 row of c, two vectors wide.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows1(int* a0, nint inner, float* b, nint bStride, float* c, nint columns, float* rowScales, float* columnScales, bool fresh)
    {
        for (nint j = 0; j < columns; j += 2 * TLanes.Count)
        {
            TVector s00 = TLanes.Zero, s01 = TLanes.Zero;
            float* line = b + j;
            for (nint k = 0; k < inner; k++, line += bStride)
            {
                TVector b0 = TLanes.Load(line), b1 = TLanes.Load(line + TLanes.Count);
                TVector pair = TLanes.BroadcastBits((uint)a0[k]);
                s00 = TLanes.AddIntegers(s00, TLanes.MultiplyPairs(pair, b0));
                s01 = TLanes.AddIntegers(s01, TLanes.MultiplyPairs(pair, b1));
            }

            float* sums = c + j, scales = columnScales == null ? null : columnScales + j;
            Put(s00, s01, rowScales[0], scales, sums, fresh);
        }
    }
}
