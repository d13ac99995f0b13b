using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace Nibble.Cpu.Kernels;

/// <summary>How a path of 128 bits multiplies 16 pairs of codes, in four int32 sums of any order.</summary>
internal interface IDot128
{
    /// <summary>Four sums of four products; exact for weights of -128 to 127 and activations of -127 to 127.</summary>
    static abstract Vector128<int> Dot(Vector128<sbyte> weights, Vector128<sbyte> x);
}

/// <summary>NEON: one instruction where the processor has the dot product extension, else int16 products added in pairs.</summary>
internal readonly struct NeonDot : IDot128
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Dot(Vector128<sbyte> weights, Vector128<sbyte> x)
    {
        if (Dp.IsSupported) return Dp.DotProduct(Vector128<int>.Zero, weights, x);
        Vector128<short> low = AdvSimd.MultiplyWideningLower(weights.GetLower(), x.GetLower());
        Vector128<short> high = AdvSimd.MultiplyWideningUpper(weights, x);
        return AdvSimd.AddPairwiseWideningAndAdd(AdvSimd.AddPairwiseWidening(low), high);
    }
}

/// <summary>Any processor: int16 products (at most 128 x 127), widened and added.</summary>
internal readonly struct PortableDot : IDot128
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Dot(Vector128<sbyte> weights, Vector128<sbyte> x)
    {
        Vector128<short> low = Vector128.WidenLower(weights) * Vector128.WidenLower(x);
        Vector128<short> high = Vector128.WidenUpper(weights) * Vector128.WidenUpper(x);
        return Vector128.WidenLower(low) + Vector128.WidenUpper(low) + (Vector128.WidenLower(high) + Vector128.WidenUpper(high));
    }
}

/// <summary>Integer tiles of the paths with 128 bits.</summary>
/// <typeparam name="TDot">How codes are multiplied.</typeparam>
internal readonly unsafe struct IntegerTiles128<TDot> : IIntegerTiles
    where TDot : struct, IDot128
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
        Vector128<float> s00 = Vector128<float>.Zero, s01 = Vector128<float>.Zero, s02 = Vector128<float>.Zero, s03 = Vector128<float>.Zero;
        Vector128<float> s10 = Vector128<float>.Zero, s11 = Vector128<float>.Zero, s12 = Vector128<float>.Zero, s13 = Vector128<float>.Zero;
        Vector128<float> s20 = Vector128<float>.Zero, s21 = Vector128<float>.Zero, s22 = Vector128<float>.Zero, s23 = Vector128<float>.Zero;
        Vector128<float> s30 = Vector128<float>.Zero, s31 = Vector128<float>.Zero, s32 = Vector128<float>.Zero, s33 = Vector128<float>.Zero;
        for (nint block = tile.Blocks; block > 0; block--)
        {
            Vector128<sbyte> a0 = Vector128.Load(x0), b0 = Vector128.Load(x0 + 16);
            Vector128<sbyte> a1 = Vector128.Load(x1), b1 = Vector128.Load(x1 + 16);
            Vector128<sbyte> a2 = Vector128.Load(x2), b2 = Vector128.Load(x2 + 16);
            Vector128<sbyte> a3 = Vector128.Load(x3), b3 = Vector128.Load(x3 + 16);
            Vector128<sbyte> w = Vector128.Load(w0), v = Vector128.Load(w0 + 16);
            s00 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a0)), Vector128.Create(d0[0] * *e0), s00);
            s00 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b0)), Vector128.Create(d0[1] * *e0), s00);
            s10 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a1)), Vector128.Create(d0[0] * *e1), s10);
            s10 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b1)), Vector128.Create(d0[1] * *e1), s10);
            s20 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a2)), Vector128.Create(d0[0] * *e2), s20);
            s20 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b2)), Vector128.Create(d0[1] * *e2), s20);
            s30 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a3)), Vector128.Create(d0[0] * *e3), s30);
            s30 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b3)), Vector128.Create(d0[1] * *e3), s30);
            w = Vector128.Load(w1);
            v = Vector128.Load(w1 + 16);
            s01 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a0)), Vector128.Create(d1[0] * *e0), s01);
            s01 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b0)), Vector128.Create(d1[1] * *e0), s01);
            s11 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a1)), Vector128.Create(d1[0] * *e1), s11);
            s11 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b1)), Vector128.Create(d1[1] * *e1), s11);
            s21 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a2)), Vector128.Create(d1[0] * *e2), s21);
            s21 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b2)), Vector128.Create(d1[1] * *e2), s21);
            s31 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a3)), Vector128.Create(d1[0] * *e3), s31);
            s31 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b3)), Vector128.Create(d1[1] * *e3), s31);
            w = Vector128.Load(w2);
            v = Vector128.Load(w2 + 16);
            s02 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a0)), Vector128.Create(d2[0] * *e0), s02);
            s02 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b0)), Vector128.Create(d2[1] * *e0), s02);
            s12 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a1)), Vector128.Create(d2[0] * *e1), s12);
            s12 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b1)), Vector128.Create(d2[1] * *e1), s12);
            s22 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a2)), Vector128.Create(d2[0] * *e2), s22);
            s22 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b2)), Vector128.Create(d2[1] * *e2), s22);
            s32 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a3)), Vector128.Create(d2[0] * *e3), s32);
            s32 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b3)), Vector128.Create(d2[1] * *e3), s32);
            w = Vector128.Load(w3);
            v = Vector128.Load(w3 + 16);
            s03 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a0)), Vector128.Create(d3[0] * *e0), s03);
            s03 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b0)), Vector128.Create(d3[1] * *e0), s03);
            s13 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a1)), Vector128.Create(d3[0] * *e1), s13);
            s13 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b1)), Vector128.Create(d3[1] * *e1), s13);
            s23 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a2)), Vector128.Create(d3[0] * *e2), s23);
            s23 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b2)), Vector128.Create(d3[1] * *e2), s23);
            s33 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a3)), Vector128.Create(d3[0] * *e3), s33);
            s33 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b3)), Vector128.Create(d3[1] * *e3), s33);
            w0 += 32; w1 += 32; w2 += 32; w3 += 32;
            d0 += 2; d1 += 2; d2 += 2; d3 += 2;
            x0 += 32; e0++; x1 += 32; e1++; x2 += 32; e2++; x3 += 32; e3++;
        }

        for (nint k = 0; k < tile.Groups; k += 4)
        {
            Vector128<float> g0 = Vector128.Load(tile.Sums[0] + k), g1 = Vector128.Load(tile.Sums[1] + k), g2 = Vector128.Load(tile.Sums[2] + k), g3 = Vector128.Load(tile.Sums[3] + k);
            Vector128<float> m = Vector128.Load(tile.M[0] + k);
            s00 = Lanes128.MultiplyAdd(m, g0, s00);
            s10 = Lanes128.MultiplyAdd(m, g1, s10);
            s20 = Lanes128.MultiplyAdd(m, g2, s20);
            s30 = Lanes128.MultiplyAdd(m, g3, s30);
            m = Vector128.Load(tile.M[1] + k);
            s01 = Lanes128.MultiplyAdd(m, g0, s01);
            s11 = Lanes128.MultiplyAdd(m, g1, s11);
            s21 = Lanes128.MultiplyAdd(m, g2, s21);
            s31 = Lanes128.MultiplyAdd(m, g3, s31);
            m = Vector128.Load(tile.M[2] + k);
            s02 = Lanes128.MultiplyAdd(m, g0, s02);
            s12 = Lanes128.MultiplyAdd(m, g1, s12);
            s22 = Lanes128.MultiplyAdd(m, g2, s22);
            s32 = Lanes128.MultiplyAdd(m, g3, s32);
            m = Vector128.Load(tile.M[3] + k);
            s03 = Lanes128.MultiplyAdd(m, g0, s03);
            s13 = Lanes128.MultiplyAdd(m, g1, s13);
            s23 = Lanes128.MultiplyAdd(m, g2, s23);
            s33 = Lanes128.MultiplyAdd(m, g3, s33);
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
        Vector128<float> s00 = Vector128<float>.Zero, s01 = Vector128<float>.Zero, s02 = Vector128<float>.Zero, s03 = Vector128<float>.Zero;
        Vector128<float> s10 = Vector128<float>.Zero, s11 = Vector128<float>.Zero, s12 = Vector128<float>.Zero, s13 = Vector128<float>.Zero;
        for (nint block = tile.Blocks; block > 0; block--)
        {
            Vector128<sbyte> a0 = Vector128.Load(x0), b0 = Vector128.Load(x0 + 16);
            Vector128<sbyte> a1 = Vector128.Load(x1), b1 = Vector128.Load(x1 + 16);
            Vector128<sbyte> w = Vector128.Load(w0), v = Vector128.Load(w0 + 16);
            s00 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a0)), Vector128.Create(d0[0] * *e0), s00);
            s00 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b0)), Vector128.Create(d0[1] * *e0), s00);
            s10 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a1)), Vector128.Create(d0[0] * *e1), s10);
            s10 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b1)), Vector128.Create(d0[1] * *e1), s10);
            w = Vector128.Load(w1);
            v = Vector128.Load(w1 + 16);
            s01 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a0)), Vector128.Create(d1[0] * *e0), s01);
            s01 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b0)), Vector128.Create(d1[1] * *e0), s01);
            s11 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a1)), Vector128.Create(d1[0] * *e1), s11);
            s11 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b1)), Vector128.Create(d1[1] * *e1), s11);
            w = Vector128.Load(w2);
            v = Vector128.Load(w2 + 16);
            s02 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a0)), Vector128.Create(d2[0] * *e0), s02);
            s02 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b0)), Vector128.Create(d2[1] * *e0), s02);
            s12 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a1)), Vector128.Create(d2[0] * *e1), s12);
            s12 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b1)), Vector128.Create(d2[1] * *e1), s12);
            w = Vector128.Load(w3);
            v = Vector128.Load(w3 + 16);
            s03 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a0)), Vector128.Create(d3[0] * *e0), s03);
            s03 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b0)), Vector128.Create(d3[1] * *e0), s03);
            s13 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a1)), Vector128.Create(d3[0] * *e1), s13);
            s13 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b1)), Vector128.Create(d3[1] * *e1), s13);
            w0 += 32; w1 += 32; w2 += 32; w3 += 32;
            d0 += 2; d1 += 2; d2 += 2; d3 += 2;
            x0 += 32; e0++; x1 += 32; e1++;
        }

        for (nint k = 0; k < tile.Groups; k += 4)
        {
            Vector128<float> g0 = Vector128.Load(tile.Sums[0] + k), g1 = Vector128.Load(tile.Sums[1] + k);
            Vector128<float> m = Vector128.Load(tile.M[0] + k);
            s00 = Lanes128.MultiplyAdd(m, g0, s00);
            s10 = Lanes128.MultiplyAdd(m, g1, s10);
            m = Vector128.Load(tile.M[1] + k);
            s01 = Lanes128.MultiplyAdd(m, g0, s01);
            s11 = Lanes128.MultiplyAdd(m, g1, s11);
            m = Vector128.Load(tile.M[2] + k);
            s02 = Lanes128.MultiplyAdd(m, g0, s02);
            s12 = Lanes128.MultiplyAdd(m, g1, s12);
            m = Vector128.Load(tile.M[3] + k);
            s03 = Lanes128.MultiplyAdd(m, g0, s03);
            s13 = Lanes128.MultiplyAdd(m, g1, s13);
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
        Vector128<float> s00 = Vector128<float>.Zero, s01 = Vector128<float>.Zero, s02 = Vector128<float>.Zero, s03 = Vector128<float>.Zero;
        for (nint block = tile.Blocks; block > 0; block--)
        {
            Vector128<sbyte> a0 = Vector128.Load(x0), b0 = Vector128.Load(x0 + 16);
            Vector128<sbyte> w = Vector128.Load(w0), v = Vector128.Load(w0 + 16);
            s00 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a0)), Vector128.Create(d0[0] * *e0), s00);
            s00 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b0)), Vector128.Create(d0[1] * *e0), s00);
            w = Vector128.Load(w1);
            v = Vector128.Load(w1 + 16);
            s01 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a0)), Vector128.Create(d1[0] * *e0), s01);
            s01 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b0)), Vector128.Create(d1[1] * *e0), s01);
            w = Vector128.Load(w2);
            v = Vector128.Load(w2 + 16);
            s02 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a0)), Vector128.Create(d2[0] * *e0), s02);
            s02 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b0)), Vector128.Create(d2[1] * *e0), s02);
            w = Vector128.Load(w3);
            v = Vector128.Load(w3 + 16);
            s03 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(w, a0)), Vector128.Create(d3[0] * *e0), s03);
            s03 = Lanes128.MultiplyAdd(Vector128.ConvertToSingle(TDot.Dot(v, b0)), Vector128.Create(d3[1] * *e0), s03);
            w0 += 32; w1 += 32; w2 += 32; w3 += 32;
            d0 += 2; d1 += 2; d2 += 2; d3 += 2;
            x0 += 32; e0++;
        }

        for (nint k = 0; k < tile.Groups; k += 4)
        {
            Vector128<float> g0 = Vector128.Load(tile.Sums[0] + k);
            Vector128<float> m = Vector128.Load(tile.M[0] + k);
            s00 = Lanes128.MultiplyAdd(m, g0, s00);
            m = Vector128.Load(tile.M[1] + k);
            s01 = Lanes128.MultiplyAdd(m, g0, s01);
            m = Vector128.Load(tile.M[2] + k);
            s02 = Lanes128.MultiplyAdd(m, g0, s02);
            m = Vector128.Load(tile.M[3] + k);
            s03 = Lanes128.MultiplyAdd(m, g0, s03);
        }

        Lanes16.Sum4(s00, s01, s02, s03).Store(tile.Results);
    }
}
