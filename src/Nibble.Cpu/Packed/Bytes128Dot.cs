using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace Nibble.Cpu.Packed;

/// <summary>16 bytes: Arm64 with the dot product extension.</summary>
internal readonly unsafe struct Bytes128Dot : IByteLanes<Vector128<byte>, Vector128<float>>
{
    public static int Count => 16;

    public static Vector128<byte> Zero => Vector128<byte>.Zero;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Load(byte* source) => Bytes128.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector128<byte> value, byte* destination) => Bytes128.Store(value, destination);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Bits(Vector128<byte> value, int shift, byte mask) => Bytes128.Bits(value, shift, mask);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Raise(Vector128<byte> value, int shift, byte mask) => Bytes128.Raise(value, shift, mask);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Or(Vector128<byte> a, Vector128<byte> b) => Bytes128.Or(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Table(Vector128<byte> values) => values;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> LookUp(Vector128<byte> table, Vector128<byte> value) => Bytes128.LookUp(table, value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Wide(sbyte* source) => Bytes128.Wide(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Wide(byte* source) => Bytes128.Wide(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Pair(Vector128<byte> low, Vector128<byte> high) => Bytes128.Pair(low, high);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Times(Vector128<byte> value, short factor) => Bytes128.Times(value, factor);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Halves(byte* source) => Bytes128.Halves(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Left32(Vector128<byte> value, int shift) => Bytes128.Left32(value, shift);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Right32(Vector128<byte> value, int shift) => Bytes128.Right32(value, shift);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> And32(Vector128<byte> value, uint mask) => Bytes128.And32(value, mask);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> AsFloat(Vector128<byte> value) => value.AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> HalfPowersOfTwo(byte* source) => Bytes128.HalfPowersOfTwo(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Unsigned(byte* source) => Bytes128.Unsigned(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Signed(byte* source) => Bytes128.Signed(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Repeat(byte* source) => Bytes128.Repeat(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Repeat(short value) => Bytes128.Repeat(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> PairProducts(Vector128<byte> unsigned, Vector128<byte> signed) => Bytes128.PairProducts(unsigned, signed);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> PairProducts16(Vector128<byte> a, Vector128<byte> b) => Bytes128.PairProducts16(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Add16(Vector128<byte> a, Vector128<byte> b) => Bytes128.Add16(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Add32(Vector128<byte> a, Vector128<byte> b) => Bytes128.Add32(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> ToFloat(Vector128<byte> value) => Bytes128.ToFloat(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Load(float* source) => Bytes128.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> MultiplyAdd(Vector128<float> a, Vector128<float> b, Vector128<float> c) => Bytes128.MultiplyAdd(a, b, c);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Add(Vector128<float> a, Vector128<float> b) => a + b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Multiply(Vector128<float> a, Vector128<float> b) => Bytes128.Multiply(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Broadcast(float value) => Bytes128.Broadcast(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector128<float> value, float* destination) => Bytes128.Store(value, destination);

    public static bool HasDot => true;

    // There are only products of signed bytes: codes less 128 need no offset, and codes below 128 are the same signed.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Centre(Vector128<byte> codes) => codes ^ Vector128.Create((byte)128);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Offset(byte* source) => Vector128<byte>.Zero;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Dot(Vector128<byte> sum, Vector128<byte> unsigned, Vector128<byte> signed) => Dp.DotProduct(sum.AsInt32(), unsigned.AsSByte(), signed.AsSByte()).AsByte();
}
