using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Nibble.Cpu.Kernels;

/// <summary>How a path of 256 bits multiplies 32 pairs of codes: lane i gets the products of columns 4i to 4i + 3.</summary>
internal interface IDot256
{
    /// <summary>What the sums of a block start from.</summary>
    static abstract Vector256<int> Start(Vector256<sbyte> x);

    /// <summary>The weights' codes as <see cref="Dot"/> wants them.</summary>
    static abstract Vector256<sbyte> Prepare(Vector256<sbyte> weights);

    /// <summary>start + sums of four products; exact for weights of -128 to 127 and activations of -127 to 127.</summary>
    static abstract Vector256<int> Dot(Vector256<int> start, Vector256<sbyte> weights, Vector256<sbyte> x);
}

/// <summary>AVX2: |w| times x with w's sign in int16 pairs (at most 2 x 128 x 127 = 32 512), then in int32.</summary>
internal readonly struct Avx2Dot : IDot256
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Start(Vector256<sbyte> x) => Vector256<int>.Zero;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<sbyte> Prepare(Vector256<sbyte> weights) => weights;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Dot(Vector256<int> start, Vector256<sbyte> weights, Vector256<sbyte> x) =>
        Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(Avx2.Abs(weights), Avx2.Sign(x, weights)), Vector256.Create((short)1));
}

/// <summary>AVX-VNNI multiplies unsigned by signed bytes: weights are moved up by 128, and the sums start at -128 times the activations.</summary>
internal readonly struct AvxVnniDot : IDot256
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Start(Vector256<sbyte> x) =>
        Vector256<int>.Zero - AvxVnni.MultiplyWideningAndAdd(Vector256<int>.Zero, Vector256.Create((byte)128), x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<sbyte> Prepare(Vector256<sbyte> weights) => weights ^ Vector256.Create(sbyte.MinValue);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Dot(Vector256<int> start, Vector256<sbyte> weights, Vector256<sbyte> x) =>
        AvxVnni.MultiplyWideningAndAdd(start, weights.AsByte(), x);
}

/// <summary>Integer tiles of the paths with 256 bits.</summary>
/// <typeparam name="TDot">How codes are multiplied.</typeparam>
internal readonly unsafe struct IntegerTiles256<TDot> : IIntegerTiles
    where TDot : struct, IDot256
{
    /// <inheritdoc/>
    public static void Dot(in IntegerTile tile, int tokens)
    {
        if (tokens == 2) Tile2(in tile);
        else Tile1(in tile);
    }

    /// <summary>4 rows x 2 tokens.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile2(in IntegerTile tile)
    {
        sbyte* w0 = tile.W[0], w1 = tile.W[1], w2 = tile.W[2], w3 = tile.W[3];
        float* d0 = tile.D[0], d1 = tile.D[1], d2 = tile.D[2], d3 = tile.D[3];
        sbyte* x0 = tile.X[0], x1 = tile.X[1];
        float* e0 = tile.E[0], e1 = tile.E[1];
        Vector256<float> s00 = Vector256<float>.Zero, s01 = Vector256<float>.Zero, s02 = Vector256<float>.Zero, s03 = Vector256<float>.Zero;
        Vector256<float> s10 = Vector256<float>.Zero, s11 = Vector256<float>.Zero, s12 = Vector256<float>.Zero, s13 = Vector256<float>.Zero;
        Vector256<int> halves = Vector256.Create(0, 0, 0, 0, 1, 1, 1, 1);
        for (nint block = tile.Blocks; block > 0; block--)
        {
            Vector256<sbyte> a0 = Vector256.Load(x0);
            Vector256<sbyte> a1 = Vector256.Load(x1);
            Vector256<int> c0 = TDot.Start(a0);
            Vector256<int> c1 = TDot.Start(a1);
            Vector256<float> f0 = Vector256.Create(*e0);
            Vector256<float> f1 = Vector256.Create(*e1);
            Vector256<sbyte> w = TDot.Prepare(Vector256.Load(w0));
            Vector256<float> d = Scales(d0, halves);
            s00 = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(TDot.Dot(c0, w, a0)), d * f0, s00);
            s10 = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(TDot.Dot(c1, w, a1)), d * f1, s10);
            w = TDot.Prepare(Vector256.Load(w1));
            d = Scales(d1, halves);
            s01 = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(TDot.Dot(c0, w, a0)), d * f0, s01);
            s11 = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(TDot.Dot(c1, w, a1)), d * f1, s11);
            w = TDot.Prepare(Vector256.Load(w2));
            d = Scales(d2, halves);
            s02 = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(TDot.Dot(c0, w, a0)), d * f0, s02);
            s12 = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(TDot.Dot(c1, w, a1)), d * f1, s12);
            w = TDot.Prepare(Vector256.Load(w3));
            d = Scales(d3, halves);
            s03 = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(TDot.Dot(c0, w, a0)), d * f0, s03);
            s13 = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(TDot.Dot(c1, w, a1)), d * f1, s13);
            w0 += 32; w1 += 32; w2 += 32; w3 += 32;
            d0 += 2; d1 += 2; d2 += 2; d3 += 2;
            x0 += 32; e0++; x1 += 32; e1++;
        }

        for (nint k = 0; k < tile.Groups; k += 8)
        {
            Vector256<float> g0 = Vector256.Load(tile.Sums[0] + k), g1 = Vector256.Load(tile.Sums[1] + k);
            Vector256<float> m = Vector256.Load(tile.M[0] + k);
            s00 = Vector256.FusedMultiplyAdd(m, g0, s00);
            s10 = Vector256.FusedMultiplyAdd(m, g1, s10);
            m = Vector256.Load(tile.M[1] + k);
            s01 = Vector256.FusedMultiplyAdd(m, g0, s01);
            s11 = Vector256.FusedMultiplyAdd(m, g1, s11);
            m = Vector256.Load(tile.M[2] + k);
            s02 = Vector256.FusedMultiplyAdd(m, g0, s02);
            s12 = Vector256.FusedMultiplyAdd(m, g1, s12);
            m = Vector256.Load(tile.M[3] + k);
            s03 = Vector256.FusedMultiplyAdd(m, g0, s03);
            s13 = Vector256.FusedMultiplyAdd(m, g1, s13);
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
        Vector256<float> s00 = Vector256<float>.Zero, s01 = Vector256<float>.Zero, s02 = Vector256<float>.Zero, s03 = Vector256<float>.Zero;
        Vector256<int> halves = Vector256.Create(0, 0, 0, 0, 1, 1, 1, 1);
        for (nint block = tile.Blocks; block > 0; block--)
        {
            Vector256<sbyte> a0 = Vector256.Load(x0);
            Vector256<int> c0 = TDot.Start(a0);
            Vector256<float> f0 = Vector256.Create(*e0);
            Vector256<sbyte> w = TDot.Prepare(Vector256.Load(w0));
            Vector256<float> d = Scales(d0, halves);
            s00 = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(TDot.Dot(c0, w, a0)), d * f0, s00);
            w = TDot.Prepare(Vector256.Load(w1));
            d = Scales(d1, halves);
            s01 = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(TDot.Dot(c0, w, a0)), d * f0, s01);
            w = TDot.Prepare(Vector256.Load(w2));
            d = Scales(d2, halves);
            s02 = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(TDot.Dot(c0, w, a0)), d * f0, s02);
            w = TDot.Prepare(Vector256.Load(w3));
            d = Scales(d3, halves);
            s03 = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(TDot.Dot(c0, w, a0)), d * f0, s03);
            w0 += 32; w1 += 32; w2 += 32; w3 += 32;
            d0 += 2; d1 += 2; d2 += 2; d3 += 2;
            x0 += 32; e0++;
        }

        for (nint k = 0; k < tile.Groups; k += 8)
        {
            Vector256<float> g0 = Vector256.Load(tile.Sums[0] + k);
            Vector256<float> m = Vector256.Load(tile.M[0] + k);
            s00 = Vector256.FusedMultiplyAdd(m, g0, s00);
            m = Vector256.Load(tile.M[1] + k);
            s01 = Vector256.FusedMultiplyAdd(m, g0, s01);
            m = Vector256.Load(tile.M[2] + k);
            s02 = Vector256.FusedMultiplyAdd(m, g0, s02);
            m = Vector256.Load(tile.M[3] + k);
            s03 = Vector256.FusedMultiplyAdd(m, g0, s03);
        }

        Lanes16.Sum4(s00, s01, s02, s03).Store(tile.Results);
    }

    // Lanes 0 to 3 belong to the first 16 columns of the block, lanes 4 to 7 to the others.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Scales(float* pair, Vector256<int> halves) =>
        Avx2.PermuteVar8x32(Vector256.Create(*(double*)pair).AsSingle(), halves);
}
