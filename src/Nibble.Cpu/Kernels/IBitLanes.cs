using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace Nibble.Cpu.Kernels;

/// <summary>What kernels do with the bits of a vector's lanes: 32-bit integers and what lies inside them.</summary>
/// <typeparam name="TVector">The vector.</typeparam>
internal unsafe interface IBitLanes<TVector>
    where TVector : struct
{
    /// <summary>The same bits in every lane.</summary>
    static abstract TVector BroadcastBits(uint bits);

    /// <summary>Each lane's bits moved up.</summary>
    static abstract TVector ShiftLeft(TVector bits, int count);

    /// <summary>Each lane's bits moved down, the highest one repeated.</summary>
    static abstract TVector ShiftRight(TVector bits, int count);

    /// <summary>The bits that both have.</summary>
    static abstract TVector And(TVector a, TVector b);

    /// <summary>The bits that one has or both have.</summary>
    static abstract TVector Or(TVector a, TVector b);

    /// <summary>Sums of signed 32-bit integers.</summary>
    static abstract TVector AddIntegers(TVector a, TVector b);

    /// <summary>The greater of each 32 bits, signed. Of float32 that are not negative it is the greater one, where infinity is above all numbers and NaN above that.</summary>
    static abstract TVector MaxIntegers(TVector a, TVector b);

    /// <summary>The products of each lane's lower 16 bits, signed, and of its upper ones, added up. One instruction on x86, three on Arm.</summary>
    static abstract TVector MultiplyPairs(TVector a, TVector b);

    /// <summary>The greater of each 16 bits, signed.</summary>
    static abstract TVector MaxShorts(TVector a, TVector b);

    /// <summary>Whether any 16 bits, signed, are above others.</summary>
    static abstract bool AnyShortAbove(TVector a, TVector b);

    /// <summary>Signed 32-bit integers as float32, rounded to nearest.</summary>
    static abstract TVector ToFloat(TVector integers);

    /// <summary>As many signed 16-bit integers as there are lanes, each in the low bits of its lane with its sign above.</summary>
    static abstract TVector LoadShorts(short* source);

    /// <summary>As many signed bytes as there are lanes, each in the low bits of its lane with its sign above.</summary>
    static abstract TVector LoadBytes(sbyte* source);

    /// <summary>The greatest lane; any value when a lane is NaN.</summary>
    static abstract float Highest(TVector value);

    /// <summary>Turns as many rows as there are lanes, of four dwords each, into columns: lane i of <paramref name="a"/> is the first dword of row i.</summary>
    /// <param name="rows">The first row; any address.</param>
    /// <param name="stride">Bytes from row to row.</param>
    /// <param name="a">First dwords.</param>
    /// <param name="b">Second dwords.</param>
    /// <param name="c">Third dwords.</param>
    /// <param name="d">Fourth dwords.</param>
    static abstract void Columns(byte* rows, nint stride, out TVector a, out TVector b, out TVector c, out TVector d);
}

internal readonly unsafe partial struct Lanes512
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> BroadcastBits(uint bits) => Vector512.Create(bits).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> ShiftLeft(Vector512<float> bits, int count) => (bits.AsInt32() << count).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> ShiftRight(Vector512<float> bits, int count) => (bits.AsInt32() >> count).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> And(Vector512<float> a, Vector512<float> b) => a & b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Or(Vector512<float> a, Vector512<float> b) => a | b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> AddIntegers(Vector512<float> a, Vector512<float> b) => (a.AsInt32() + b.AsInt32()).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> MaxIntegers(Vector512<float> a, Vector512<float> b) => Vector512.Max(a.AsInt32(), b.AsInt32()).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> MultiplyPairs(Vector512<float> a, Vector512<float> b) => Avx512BW.MultiplyAddAdjacent(a.AsInt16(), b.AsInt16()).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> MaxShorts(Vector512<float> a, Vector512<float> b) => Vector512.Max(a.AsInt16(), b.AsInt16()).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AnyShortAbove(Vector512<float> a, Vector512<float> b) => Vector512.GreaterThanAny(a.AsInt16(), b.AsInt16());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> ToFloat(Vector512<float> integers) => Vector512.ConvertToSingle(integers.AsInt32());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadShorts(short* source) => Avx512F.ConvertToVector512Int32(Vector256.Load(source)).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadBytes(sbyte* source) => Avx512F.ConvertToVector512Int32(Vector128.Load(source)).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Highest(Vector512<float> value) => Lanes256.Highest(Vector256.MaxNative(value.GetLower(), value.GetUpper()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Columns(byte* rows, nint stride, out Vector512<float> a, out Vector512<float> b, out Vector512<float> c, out Vector512<float> d)
    {
        // Rows 0, 4, 8 and 12 lie side by side in one vector, and so on; then four by four inside each 128 bits.
        Vector512<float> r0 = Four(rows, stride), r1 = Four(rows + stride, stride), r2 = Four(rows + (2 * stride), stride), r3 = Four(rows + (3 * stride), stride);
        Vector512<double> low01 = Avx512F.UnpackLow(r0, r1).AsDouble(), high01 = Avx512F.UnpackHigh(r0, r1).AsDouble();
        Vector512<double> low23 = Avx512F.UnpackLow(r2, r3).AsDouble(), high23 = Avx512F.UnpackHigh(r2, r3).AsDouble();
        a = Avx512F.UnpackLow(low01, low23).AsSingle();
        b = Avx512F.UnpackHigh(low01, low23).AsSingle();
        c = Avx512F.UnpackLow(high01, high23).AsSingle();
        d = Avx512F.UnpackHigh(high01, high23).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Four(byte* row, nint stride)
    {
        Vector512<float> four = Vector128.Load((float*)row).ToVector256Unsafe().ToVector512Unsafe();
        four = Avx512F.InsertVector128(four, Vector128.Load((float*)(row + (4 * stride))), 1);
        four = Avx512F.InsertVector128(four, Vector128.Load((float*)(row + (8 * stride))), 2);
        return Avx512F.InsertVector128(four, Vector128.Load((float*)(row + (12 * stride))), 3);
    }
}

internal readonly unsafe partial struct Lanes256
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> BroadcastBits(uint bits) => Vector256.Create(bits).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> ShiftLeft(Vector256<float> bits, int count) => (bits.AsInt32() << count).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> ShiftRight(Vector256<float> bits, int count) => (bits.AsInt32() >> count).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> And(Vector256<float> a, Vector256<float> b) => a & b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Or(Vector256<float> a, Vector256<float> b) => a | b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> AddIntegers(Vector256<float> a, Vector256<float> b) => (a.AsInt32() + b.AsInt32()).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> MaxIntegers(Vector256<float> a, Vector256<float> b) => Vector256.Max(a.AsInt32(), b.AsInt32()).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> MultiplyPairs(Vector256<float> a, Vector256<float> b) => Avx2.MultiplyAddAdjacent(a.AsInt16(), b.AsInt16()).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> MaxShorts(Vector256<float> a, Vector256<float> b) => Vector256.Max(a.AsInt16(), b.AsInt16()).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AnyShortAbove(Vector256<float> a, Vector256<float> b) => Vector256.GreaterThanAny(a.AsInt16(), b.AsInt16());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> ToFloat(Vector256<float> integers) => Vector256.ConvertToSingle(integers.AsInt32());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadShorts(short* source) => Avx2.ConvertToVector256Int32(Vector128.Load(source)).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadBytes(sbyte* source) => Avx2.ConvertToVector256Int32(Vector128.CreateScalarUnsafe(*(long*)source).AsSByte()).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Highest(Vector256<float> value) => Lanes128.Highest(Vector128.MaxNative(value.GetLower(), value.GetUpper()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Columns(byte* rows, nint stride, out Vector256<float> a, out Vector256<float> b, out Vector256<float> c, out Vector256<float> d)
    {
        Vector256<float> r0 = Two(rows, stride), r1 = Two(rows + stride, stride), r2 = Two(rows + (2 * stride), stride), r3 = Two(rows + (3 * stride), stride);
        Vector256<double> low01 = Avx.UnpackLow(r0, r1).AsDouble(), high01 = Avx.UnpackHigh(r0, r1).AsDouble();
        Vector256<double> low23 = Avx.UnpackLow(r2, r3).AsDouble(), high23 = Avx.UnpackHigh(r2, r3).AsDouble();
        a = Avx.UnpackLow(low01, low23).AsSingle();
        b = Avx.UnpackHigh(low01, low23).AsSingle();
        c = Avx.UnpackLow(high01, high23).AsSingle();
        d = Avx.UnpackHigh(high01, high23).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Two(byte* row, nint stride) =>
        Avx.InsertVector128(Vector128.Load((float*)row).ToVector256Unsafe(), Vector128.Load((float*)(row + (4 * stride))), 1);
}

internal readonly unsafe partial struct Lanes128
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> BroadcastBits(uint bits) => Vector128.Create(bits).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> ShiftLeft(Vector128<float> bits, int count) => (bits.AsInt32() << count).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> ShiftRight(Vector128<float> bits, int count) => (bits.AsInt32() >> count).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> And(Vector128<float> a, Vector128<float> b) => a & b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Or(Vector128<float> a, Vector128<float> b) => a | b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> AddIntegers(Vector128<float> a, Vector128<float> b) => (a.AsInt32() + b.AsInt32()).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> MaxIntegers(Vector128<float> a, Vector128<float> b) => Vector128.Max(a.AsInt32(), b.AsInt32()).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> MultiplyPairs(Vector128<float> a, Vector128<float> b)
    {
        if (Sse2.IsSupported) return Sse2.MultiplyAddAdjacent(a.AsInt16(), b.AsInt16()).AsSingle();
        if (AdvSimd.Arm64.IsSupported)
        {
            Vector128<short> x = a.AsInt16(), y = b.AsInt16();
            return AdvSimd.Arm64.AddPairwise(AdvSimd.MultiplyWideningLower(x.GetLower(), y.GetLower()), AdvSimd.MultiplyWideningUpper(x, y)).AsSingle();
        }

        Vector128<int> first = a.AsInt32(), second = b.AsInt32();
        return (((first << 16 >> 16) * (second << 16 >> 16)) + ((first >> 16) * (second >> 16))).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> MaxShorts(Vector128<float> a, Vector128<float> b) => Vector128.Max(a.AsInt16(), b.AsInt16()).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AnyShortAbove(Vector128<float> a, Vector128<float> b) => Vector128.GreaterThanAny(a.AsInt16(), b.AsInt16());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> ToFloat(Vector128<float> integers) => Vector128.ConvertToSingle(integers.AsInt32());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadShorts(short* source) => Vector128.WidenLower(Vector128.CreateScalarUnsafe(*(long*)source).AsInt16()).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadBytes(sbyte* source) => Vector128.WidenLower(Vector128.WidenLower(Vector128.CreateScalarUnsafe(*(int*)source).AsSByte())).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Highest(Vector128<float> value)
    {
        Vector128<float> two = Vector128.MaxNative(value, Vector128.Shuffle(value, Vector128.Create(2, 3, 0, 1)));
        return Vector128.MaxNative(two, Vector128.Shuffle(two, Vector128.Create(1, 0, 3, 2))).ToScalar();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Columns(byte* rows, nint stride, out Vector128<float> a, out Vector128<float> b, out Vector128<float> c, out Vector128<float> d)
    {
        a = Vector128.Load((float*)rows);
        b = Vector128.Load((float*)(rows + stride));
        c = Vector128.Load((float*)(rows + (2 * stride)));
        d = Vector128.Load((float*)(rows + (3 * stride)));
        Lanes16.Transpose(ref a, ref b, ref c, ref d);
    }
}
