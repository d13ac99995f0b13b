using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Nibble.Cpu.Packed;

/// <summary>How the dots of two vectors become sums of float32.</summary>
internal interface IDotSums
{
    /// <summary>Whether both do at once, in 512 bits.</summary>
    static abstract bool AreWide { get; }
}

/// <summary>One vector after the other.</summary>
internal readonly struct NarrowSums : IDotSums
{
    public static bool AreWide => false;
}

/// <summary>Two vectors at once: AVX-512.</summary>
internal readonly struct WideSums : IDotSums
{
    public static bool AreWide => true;
}

/// <summary>32 bytes: AVX2 with AVX-VNNI.</summary>
/// <typeparam name="TSums">How dots become sums.</typeparam>
internal readonly unsafe struct Bytes256Dot<TSums> : IByteLanes<Vector256<byte>, Vector256<float>>
    where TSums : struct, IDotSums
{
    public static int Count => 32;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Load(byte* source) => Bytes256.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector256<byte> value, byte* destination) => Bytes256.Store(value, destination);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Bits(Vector256<byte> value, int shift, byte mask) => Bytes256.Bits(value, shift, mask);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Raise(Vector256<byte> value, int shift, byte mask) => Bytes256.Raise(value, shift, mask);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Or(Vector256<byte> a, Vector256<byte> b) => Bytes256.Or(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Table(Vector128<byte> values) => Bytes256.Table(values);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> LookUp(Vector256<byte> table, Vector256<byte> value) => Bytes256.LookUp(table, value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Wide(sbyte* source) => Bytes256.Wide(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Wide(byte* source) => Bytes256.Wide(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Pair(Vector256<byte> low, Vector256<byte> high) => Bytes256.Pair(low, high);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Times(Vector256<byte> value, short factor) => Bytes256.Times(value, factor);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Halves(byte* source) => Bytes256.Halves(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Left32(Vector256<byte> value, int shift) => Bytes256.Left32(value, shift);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Right32(Vector256<byte> value, int shift) => Bytes256.Right32(value, shift);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> And32(Vector256<byte> value, uint mask) => Bytes256.And32(value, mask);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> AsFloat(Vector256<byte> value) => value.AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> HalfPowersOfTwo(byte* source) => Bytes256.HalfPowersOfTwo(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Unsigned(byte* source) => Bytes256.Unsigned(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Signed(byte* source) => Bytes256.Signed(source);

    public static bool HasDot => true;

    public static bool HasWideSums => TSums.AreWide;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void AddWide(Vector256<byte> low, Vector256<byte> high, float* scales, float* minima, float tokenScale, float tokenSum, float* results)
    {
        Vector512<float> dots = Vector512.ConvertToSingle(low.ToVector512Unsafe().WithUpper(high).AsInt32());
        Vector512<float> sum = Vector512.FusedMultiplyAdd(dots, Vector512.Load(scales) * Vector512.Create(tokenScale), Vector512.Load(results));
        if (minima != null) sum = Vector512.FusedMultiplyAdd(Vector512.Load(minima), Vector512.Create(tokenSum), sum);
        sum.Store(results);
    }

    public static Vector256<byte> Zero => Vector256<byte>.Zero;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Repeat(byte* source) => Bytes256.Repeat(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Repeat(short value) => Bytes256.Repeat(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> PairProducts(Vector256<byte> unsigned, Vector256<byte> signed) => Bytes256.PairProducts(unsigned, signed);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> PairProducts16(Vector256<byte> a, Vector256<byte> b) => Bytes256.PairProducts16(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Centre(Vector256<byte> codes) => codes;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Offset(byte* source) => Left32(Repeat(source), 4);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Dot(Vector256<byte> sum, Vector256<byte> unsigned, Vector256<byte> signed) =>
        AvxVnni.MultiplyWideningAndAdd(sum.AsInt32(), unsigned, signed.AsSByte()).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Add16(Vector256<byte> a, Vector256<byte> b) => Bytes256.Add16(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Add32(Vector256<byte> a, Vector256<byte> b) => Bytes256.Add32(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> ToFloat(Vector256<byte> value) => Bytes256.ToFloat(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load(float* source) => Bytes256.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> MultiplyAdd(Vector256<float> a, Vector256<float> b, Vector256<float> c) => Bytes256.MultiplyAdd(a, b, c);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Add(Vector256<float> a, Vector256<float> b) => a + b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Multiply(Vector256<float> a, Vector256<float> b) => Bytes256.Multiply(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Broadcast(float value) => Bytes256.Broadcast(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector256<float> value, float* destination) => Bytes256.Store(value, destination);
}
