using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Nibble.Cpu.Codes;

/// <summary>Steps that unpackers share.</summary>
internal static unsafe class Bits
{
    /// <summary>What remains of the bits of a half with its sign repeated to its left, when they have moved left by 13: sign, exponent and mantissa of a float32 that is 2^112 too small.</summary>
    public const uint HalfInFloat = 0x8FFFE000;

    /// <summary>A half as float32, exact, NaN and infinity included. <c>(float)Half</c> is a call that spills every vector register.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float HalfAt(byte* address)
    {
        uint half = Unsafe.ReadUnaligned<ushort>(address);
        if ((half & 0x7C00) == 0x7C00) return (float)BitConverter.UInt16BitsToHalf((ushort)half);

        // Read as float32 the exponent is 112 too low; the product also makes subnormal halves normal.
        return BitConverter.UInt32BitsToSingle(((half & 0x8000) << 16) | ((half & 0x7FFF) << 13)) * BitConverter.UInt32BitsToSingle(239u << 23);
    }

    /// <summary>Two neighbouring halves as float32, exact: first, first, second, second.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> HalvesAt(byte* address)
    {
        Vector128<uint> half = Vector128.WidenLower(Vector128.CreateScalar(Unsafe.ReadUnaligned<uint>(address)).AsUInt16());
        Vector128<uint> exponent = Vector128.Create(0x7C00u);
        if (Vector128.EqualsAny(half & exponent, exponent))
        {
            float first = HalfAt(address), second = HalfAt(address + 2);
            return Vector128.Create(first, first, second, second);
        }

        Vector128<float> low = ((half & Vector128.Create(0x8000u)) << 16 | (half & Vector128.Create(0x7FFFu)) << 13).AsSingle();
        return Vector128.Shuffle(low * Vector128.Create(239u << 23).AsSingle(), Vector128.Create(0, 0, 1, 1));
    }

    /// <summary>16 bytes at any address.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Bytes16(byte* address) => Vector128.Load(address);

    /// <summary>32 bytes at any address.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Bytes32(byte* address) => Vector256.Load(address);

    /// <summary>The low nibbles.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Low(Vector128<byte> bytes) => bytes & Vector128.Create((byte)15);

    /// <summary>The high nibbles.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> High(Vector128<byte> bytes) => bytes >>> 4;

    /// <summary>Byte i is 16 where bit i of the 16 is set.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> FifthBits(uint bits16)
    {
        Vector128<byte> spread = Vector128.Shuffle(
            Vector128.Create((ushort)bits16).AsByte(), Vector128.Create((byte)0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
        Vector128<byte> mask = Vector128.Create(0x8040_2010_0804_0201ul).AsByte();
        return Vector128.Equals(spread & mask, mask) & Vector128.Create((byte)16);
    }

    /// <summary>Sets the two scales of 32 values, in one store, so that a load of both at once finds it while it is still on its way to the cache.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair(float* scales, float value) => Unsafe.WriteUnaligned(scales, Vector128.Create(value).AsDouble().ToScalar());

    /// <summary>Sets the two scales and the two minima of 32 values.</summary>
    /// <param name="values">Scale, scale, minimum, minimum: <see cref="HalvesAt"/>.</param>
    /// <param name="scales">[2], overwritten.</param>
    /// <param name="mins">[2], overwritten.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pairs(Vector128<float> values, float* scales, float* mins)
    {
        Unsafe.WriteUnaligned(scales, values.AsDouble().ToScalar());
        Unsafe.WriteUnaligned(mins, values.AsDouble().GetElement(1));
    }
}
