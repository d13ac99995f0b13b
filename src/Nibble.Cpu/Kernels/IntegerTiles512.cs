using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Nibble.Cpu.Kernels;

/// <summary>Integer tiles of AVX-512BW: codes are widened to int16 and multiplied in pairs (vpmaddwd), 32 products an instruction.</summary>
internal readonly unsafe struct IntegerTiles512 : IIntegerTiles
{
    /// <inheritdoc/>
    public static void Dot(in IntegerTile tile, int tokens)
    {
        if (tokens == 4) Tile4(in tile);
        else if (tokens == 2) Tile2(in tile);
        else Tile1(in tile);
    }

    /// <summary>4 rows x 4 tokens.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile4(in IntegerTile tile)
    {
        sbyte* w0 = tile.W[0], w1 = tile.W[1], w2 = tile.W[2], w3 = tile.W[3];
        float* d0 = tile.D[0], d1 = tile.D[1], d2 = tile.D[2], d3 = tile.D[3];
        sbyte* x0 = tile.X[0], x1 = tile.X[1], x2 = tile.X[2], x3 = tile.X[3];
        float* e0 = tile.E[0], e1 = tile.E[1], e2 = tile.E[2], e3 = tile.E[3];
        Vector512<float> s00 = Vector512<float>.Zero, s01 = Vector512<float>.Zero, s02 = Vector512<float>.Zero, s03 = Vector512<float>.Zero;
        Vector512<float> s10 = Vector512<float>.Zero, s11 = Vector512<float>.Zero, s12 = Vector512<float>.Zero, s13 = Vector512<float>.Zero;
        Vector512<float> s20 = Vector512<float>.Zero, s21 = Vector512<float>.Zero, s22 = Vector512<float>.Zero, s23 = Vector512<float>.Zero;
        Vector512<float> s30 = Vector512<float>.Zero, s31 = Vector512<float>.Zero, s32 = Vector512<float>.Zero, s33 = Vector512<float>.Zero;
        Vector512<int> halves = Vector512.Create(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
        for (nint block = tile.Blocks; block > 0; block--)
        {
            Vector512<short> a0 = Avx512BW.ConvertToVector512Int16(Vector256.Load(x0));
            Vector512<short> a1 = Avx512BW.ConvertToVector512Int16(Vector256.Load(x1));
            Vector512<short> a2 = Avx512BW.ConvertToVector512Int16(Vector256.Load(x2));
            Vector512<short> a3 = Avx512BW.ConvertToVector512Int16(Vector256.Load(x3));
            Vector512<float> f0 = Vector512.Create(*e0);
            Vector512<float> f1 = Vector512.Create(*e1);
            Vector512<float> f2 = Vector512.Create(*e2);
            Vector512<float> f3 = Vector512.Create(*e3);
            Vector512<short> w = Avx512BW.ConvertToVector512Int16(Vector256.Load(w0));
            Vector512<float> d = Scales(d0, halves);
            s00 = Add(w, a0, d * f0, s00);
            s10 = Add(w, a1, d * f1, s10);
            s20 = Add(w, a2, d * f2, s20);
            s30 = Add(w, a3, d * f3, s30);
            w = Avx512BW.ConvertToVector512Int16(Vector256.Load(w1));
            d = Scales(d1, halves);
            s01 = Add(w, a0, d * f0, s01);
            s11 = Add(w, a1, d * f1, s11);
            s21 = Add(w, a2, d * f2, s21);
            s31 = Add(w, a3, d * f3, s31);
            w = Avx512BW.ConvertToVector512Int16(Vector256.Load(w2));
            d = Scales(d2, halves);
            s02 = Add(w, a0, d * f0, s02);
            s12 = Add(w, a1, d * f1, s12);
            s22 = Add(w, a2, d * f2, s22);
            s32 = Add(w, a3, d * f3, s32);
            w = Avx512BW.ConvertToVector512Int16(Vector256.Load(w3));
            d = Scales(d3, halves);
            s03 = Add(w, a0, d * f0, s03);
            s13 = Add(w, a1, d * f1, s13);
            s23 = Add(w, a2, d * f2, s23);
            s33 = Add(w, a3, d * f3, s33);
            w0 += 32; w1 += 32; w2 += 32; w3 += 32;
            d0 += 2; d1 += 2; d2 += 2; d3 += 2;
            x0 += 32; e0++; x1 += 32; e1++; x2 += 32; e2++; x3 += 32; e3++;
        }

        for (nint k = 0; k < tile.Groups; k += 16)
        {
            Vector512<float> g0 = Vector512.Load(tile.Sums[0] + k), g1 = Vector512.Load(tile.Sums[1] + k), g2 = Vector512.Load(tile.Sums[2] + k), g3 = Vector512.Load(tile.Sums[3] + k);
            Vector512<float> m = Vector512.Load(tile.M[0] + k);
            s00 = Vector512.FusedMultiplyAdd(m, g0, s00);
            s10 = Vector512.FusedMultiplyAdd(m, g1, s10);
            s20 = Vector512.FusedMultiplyAdd(m, g2, s20);
            s30 = Vector512.FusedMultiplyAdd(m, g3, s30);
            m = Vector512.Load(tile.M[1] + k);
            s01 = Vector512.FusedMultiplyAdd(m, g0, s01);
            s11 = Vector512.FusedMultiplyAdd(m, g1, s11);
            s21 = Vector512.FusedMultiplyAdd(m, g2, s21);
            s31 = Vector512.FusedMultiplyAdd(m, g3, s31);
            m = Vector512.Load(tile.M[2] + k);
            s02 = Vector512.FusedMultiplyAdd(m, g0, s02);
            s12 = Vector512.FusedMultiplyAdd(m, g1, s12);
            s22 = Vector512.FusedMultiplyAdd(m, g2, s22);
            s32 = Vector512.FusedMultiplyAdd(m, g3, s32);
            m = Vector512.Load(tile.M[3] + k);
            s03 = Vector512.FusedMultiplyAdd(m, g0, s03);
            s13 = Vector512.FusedMultiplyAdd(m, g1, s13);
            s23 = Vector512.FusedMultiplyAdd(m, g2, s23);
            s33 = Vector512.FusedMultiplyAdd(m, g3, s33);
        }

        Lanes16.Sum4(s00, s01, s02, s03).Store(tile.Results);
        Lanes16.Sum4(s10, s11, s12, s13).Store(tile.Results + 4);
        Lanes16.Sum4(s20, s21, s22, s23).Store(tile.Results + 8);
        Lanes16.Sum4(s30, s31, s32, s33).Store(tile.Results + 12);
    }

    /// <summary>4 rows x 2 tokens.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile2(in IntegerTile tile)
    {
        sbyte* w0 = tile.W[0], w1 = tile.W[1], w2 = tile.W[2], w3 = tile.W[3];
        float* d0 = tile.D[0], d1 = tile.D[1], d2 = tile.D[2], d3 = tile.D[3];
        sbyte* x0 = tile.X[0], x1 = tile.X[1];
        float* e0 = tile.E[0], e1 = tile.E[1];
        Vector512<float> s00 = Vector512<float>.Zero, s01 = Vector512<float>.Zero, s02 = Vector512<float>.Zero, s03 = Vector512<float>.Zero;
        Vector512<float> s10 = Vector512<float>.Zero, s11 = Vector512<float>.Zero, s12 = Vector512<float>.Zero, s13 = Vector512<float>.Zero;
        Vector512<int> halves = Vector512.Create(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
        for (nint block = tile.Blocks; block > 0; block--)
        {
            Vector512<short> a0 = Avx512BW.ConvertToVector512Int16(Vector256.Load(x0));
            Vector512<short> a1 = Avx512BW.ConvertToVector512Int16(Vector256.Load(x1));
            Vector512<float> f0 = Vector512.Create(*e0);
            Vector512<float> f1 = Vector512.Create(*e1);
            Vector512<short> w = Avx512BW.ConvertToVector512Int16(Vector256.Load(w0));
            Vector512<float> d = Scales(d0, halves);
            s00 = Add(w, a0, d * f0, s00);
            s10 = Add(w, a1, d * f1, s10);
            w = Avx512BW.ConvertToVector512Int16(Vector256.Load(w1));
            d = Scales(d1, halves);
            s01 = Add(w, a0, d * f0, s01);
            s11 = Add(w, a1, d * f1, s11);
            w = Avx512BW.ConvertToVector512Int16(Vector256.Load(w2));
            d = Scales(d2, halves);
            s02 = Add(w, a0, d * f0, s02);
            s12 = Add(w, a1, d * f1, s12);
            w = Avx512BW.ConvertToVector512Int16(Vector256.Load(w3));
            d = Scales(d3, halves);
            s03 = Add(w, a0, d * f0, s03);
            s13 = Add(w, a1, d * f1, s13);
            w0 += 32; w1 += 32; w2 += 32; w3 += 32;
            d0 += 2; d1 += 2; d2 += 2; d3 += 2;
            x0 += 32; e0++; x1 += 32; e1++;
        }

        for (nint k = 0; k < tile.Groups; k += 16)
        {
            Vector512<float> g0 = Vector512.Load(tile.Sums[0] + k), g1 = Vector512.Load(tile.Sums[1] + k);
            Vector512<float> m = Vector512.Load(tile.M[0] + k);
            s00 = Vector512.FusedMultiplyAdd(m, g0, s00);
            s10 = Vector512.FusedMultiplyAdd(m, g1, s10);
            m = Vector512.Load(tile.M[1] + k);
            s01 = Vector512.FusedMultiplyAdd(m, g0, s01);
            s11 = Vector512.FusedMultiplyAdd(m, g1, s11);
            m = Vector512.Load(tile.M[2] + k);
            s02 = Vector512.FusedMultiplyAdd(m, g0, s02);
            s12 = Vector512.FusedMultiplyAdd(m, g1, s12);
            m = Vector512.Load(tile.M[3] + k);
            s03 = Vector512.FusedMultiplyAdd(m, g0, s03);
            s13 = Vector512.FusedMultiplyAdd(m, g1, s13);
        }

        Lanes16.Sum4(s00, s01, s02, s03).Store(tile.Results);
        Lanes16.Sum4(s10, s11, s12, s13).Store(tile.Results + 4);
    }

    /// <summary>4 rows x 1 token.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile1(in IntegerTile tile)
    {
        sbyte* w0 = tile.W[0], w1 = tile.W[1], w2 = tile.W[2], w3 = tile.W[3];
        float* d0 = tile.D[0], d1 = tile.D[1], d2 = tile.D[2], d3 = tile.D[3];
        sbyte* x0 = tile.X[0];
        float* e0 = tile.E[0];
        Vector512<float> s00 = Vector512<float>.Zero, s01 = Vector512<float>.Zero, s02 = Vector512<float>.Zero, s03 = Vector512<float>.Zero;
        Vector512<int> halves = Vector512.Create(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
        for (nint block = tile.Blocks; block > 0; block--)
        {
            Vector512<short> a0 = Avx512BW.ConvertToVector512Int16(Vector256.Load(x0));
            Vector512<float> f0 = Vector512.Create(*e0);
            Vector512<short> w = Avx512BW.ConvertToVector512Int16(Vector256.Load(w0));
            Vector512<float> d = Scales(d0, halves);
            s00 = Add(w, a0, d * f0, s00);
            w = Avx512BW.ConvertToVector512Int16(Vector256.Load(w1));
            d = Scales(d1, halves);
            s01 = Add(w, a0, d * f0, s01);
            w = Avx512BW.ConvertToVector512Int16(Vector256.Load(w2));
            d = Scales(d2, halves);
            s02 = Add(w, a0, d * f0, s02);
            w = Avx512BW.ConvertToVector512Int16(Vector256.Load(w3));
            d = Scales(d3, halves);
            s03 = Add(w, a0, d * f0, s03);
            w0 += 32; w1 += 32; w2 += 32; w3 += 32;
            d0 += 2; d1 += 2; d2 += 2; d3 += 2;
            x0 += 32; e0++;
        }

        for (nint k = 0; k < tile.Groups; k += 16)
        {
            Vector512<float> g0 = Vector512.Load(tile.Sums[0] + k);
            Vector512<float> m = Vector512.Load(tile.M[0] + k);
            s00 = Vector512.FusedMultiplyAdd(m, g0, s00);
            m = Vector512.Load(tile.M[1] + k);
            s01 = Vector512.FusedMultiplyAdd(m, g0, s01);
            m = Vector512.Load(tile.M[2] + k);
            s02 = Vector512.FusedMultiplyAdd(m, g0, s02);
            m = Vector512.Load(tile.M[3] + k);
            s03 = Vector512.FusedMultiplyAdd(m, g0, s03);
        }

        Lanes16.Sum4(s00, s01, s02, s03).Store(tile.Results);
    }

    // Lanes 0 to 7 of the pair sums belong to the first 16 columns of the block, lanes 8 to 15 to the others.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Scales(float* pair, Vector512<int> halves) =>
        Avx512F.PermuteVar16x32(Vector512.Create(*(double*)pair).AsSingle(), halves);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Add(Vector512<short> w, Vector512<short> a, Vector512<float> scale, Vector512<float> sum) =>
        Vector512.FusedMultiplyAdd(Vector512.ConvertToSingle(Avx512BW.MultiplyAddAdjacent(w, a)), scale, sum);
}
