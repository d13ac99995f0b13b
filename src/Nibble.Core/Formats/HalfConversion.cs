using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Nibble.Core.Formats;

/// <summary>Conversion between IEEE 754 binary16 and float32, one value, eight, or a row, with equal results.</summary>
public static class HalfConversion
{
    private const uint QuietBit = 0x0040_0000;

    /// <summary>Widens a row: exact; a signalling NaN becomes quiet and keeps its other bits.</summary>
    /// <param name="source">[n] half; any address.</param>
    /// <param name="destination">[n] float32 or more, overwritten.</param>
    /// <exception cref="ArgumentException">The destination is too short.</exception>
    public static void ToSingle(ReadOnlySpan<Half> source, Span<float> destination)
    {
        CheckLength(source.Length, destination.Length);
        ReadOnlySpan<ushort> bits = MemoryMarshal.Cast<Half, ushort>(source);
        int i = 0;
        for (; i <= bits.Length - 16; i += 16)
        {
            (Vector256<uint> low, Vector256<uint> high) = Vector256.Widen(Vector256.Create(bits[i..]));
            ToSingle(low).CopyTo(destination[i..]);
            ToSingle(high).CopyTo(destination[(i + 8)..]);
        }

        for (; i < source.Length; i++)
            destination[i] = (float)source[i];
    }

    /// <summary>Widens eight halves that lie in the low 16 bits of each lane; the upper bits are zero.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> ToSingle(Vector256<uint> half)
    {
        Vector256<uint> sign = (half & Vector256.Create(0x8000u)) << 16;
        Vector256<uint> magnitude = (half & Vector256.Create(0x7FFFu)) << 13;
        Vector256<uint> exponent = magnitude & Vector256.Create(0x0F80_0000u);

        // The bias grows by 127 - 15 = 112; an all-ones exponent, for infinity and NaN, takes 112 more to be all ones again.
        Vector256<uint> normal = magnitude + Vector256.Create(112u << 23);
        Vector256<uint> special = normal + Vector256.Create(112u << 23);
        special |= Vector256.GreaterThan(magnitude, Vector256.Create(0x0F80_0000u)) & Vector256.Create(QuietBit);

        // A subnormal is m * 2^-24: put its bits below a leading one worth 2^-14, then take that one away. Zero comes out as zero.
        Vector256<uint> one = Vector256.Create(113u << 23);
        Vector256<uint> subnormal = ((magnitude + one).AsSingle() - one.AsSingle()).AsUInt32();

        Vector256<uint> result = Vector256.ConditionalSelect(Vector256.Equals(exponent, Vector256<uint>.Zero), subnormal, normal);
        result = Vector256.ConditionalSelect(Vector256.Equals(exponent, Vector256.Create(0x0F80_0000u)), special, result);
        return (result | sign).AsSingle();
    }

    /// <summary>Narrows a row: to nearest, ties to even; beyond 65504 to infinity from 65520 on; every NaN becomes 0x7E00 with the sign kept.</summary>
    /// <param name="source">[n] float32.</param>
    /// <param name="destination">[n] half or more, overwritten; any address.</param>
    /// <exception cref="ArgumentException">The destination is too short.</exception>
    public static void ToHalf(ReadOnlySpan<float> source, Span<Half> destination)
    {
        CheckLength(source.Length, destination.Length);
        Span<ushort> bits = MemoryMarshal.Cast<Half, ushort>(destination);
        int i = 0;
        for (; i <= source.Length - 16; i += 16)
        {
            Vector256<uint> low = ToHalf(Vector256.Create(source[i..])), high = ToHalf(Vector256.Create(source[(i + 8)..]));
            Vector256.Narrow(low, high).CopyTo(bits[i..]);
        }

        for (; i < source.Length; i++)
            destination[i] = ToHalf(source[i]);
    }

    /// <summary>Narrows one value by the rules of the row.</summary>
    public static Half ToHalf(float value) =>
        float.IsNaN(value)
            ? BitConverter.UInt16BitsToHalf((ushort)(float.IsNegative(value) ? 0xFE00 : 0x7E00))
            : (Half)value;

    /// <summary>Narrows eight values by the rules of the row, into the low 16 bits of each lane.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> ToHalf(Vector256<float> value)
    {
        Vector256<uint> bits = value.AsUInt32();
        Vector256<uint> sign = bits >> 16 & Vector256.Create(0x8000u);
        Vector256<uint> magnitude = bits & Vector256.Create(0x7FFF_FFFFu);

        // 13 bits fall away: add just under half of the last kept bit, plus one where that bit is odd. A carry moves the exponent up as it should.
        Vector256<uint> normal = magnitude - Vector256.Create(112u << 23);
        normal = normal + Vector256.Create(0xFFFu) + (normal >> 13 & Vector256<uint>.One) >> 13;

        // Below 2^-14 the half counts in steps of 2^-24, the steps of float32 at one half: the addition rounds.
        Vector256<float> half = Vector256.Create(0.5f);
        Vector256<uint> subnormal = (magnitude.AsSingle() + half).AsUInt32() - half.AsUInt32();

        Vector256<uint> result = Vector256.ConditionalSelect(Vector256.LessThan(magnitude, Vector256.Create(113u << 23)), subnormal, normal);
        result = Vector256.ConditionalSelect(Vector256.GreaterThanOrEqual(magnitude, Vector256.Create(0x477F_F000u)), Vector256.Create(0x7C00u), result);
        result = Vector256.ConditionalSelect(Vector256.GreaterThan(magnitude, Vector256.Create(0x7F80_0000u)), Vector256.Create(0x7E00u), result);
        return result | sign;
    }

    private static void CheckLength(int source, int destination)
    {
        if (destination < source)
            throw new ArgumentException($"The destination holds {destination} values; {source} are needed.", nameof(destination));
    }
}
