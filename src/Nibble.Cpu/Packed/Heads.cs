using System.Runtime.CompilerServices;
using Nibble.Core.Formats;
using Nibble.Cpu.Codes;

namespace Nibble.Cpu.Packed;

/// <summary>Scales of one row's block as the head of a tile has them: row r of 16 is lane r of each field.</summary>
/// <remarks>
/// Halves are kept times 2^10, which makes every subnormal one normal: arithmetic with subnormal numbers costs processors a hundred cycles, and small scales are often such. Their bits, moved to where
/// float32 has its own, are a number 2^112 too small, which takes three instructions; a product that mends it at once takes seven. Activations bring 2^64 (<see cref="TokenFactor"/>), results the rest.
/// </remarks>
internal static unsafe class Heads
{
    /// <summary>What activations, or their scales, are multiplied by. One with a magnitude of 2^63 and more becomes infinite.</summary>
    public const float TokenFactor = 18446744073709551616f;

    /// <summary>What products of halves and activations are multiplied by: 2^(112 - 64 - 10).</summary>
    public const float HalfFactor = 274877906944f;

    /// <summary>A block that begins with the half d.</summary>
    public static bool Half(byte* block, byte* head, int row) => PutHalf(block, head, row);

    /// <summary>A block that begins with the halves d and m.</summary>
    public static bool TwoHalves(byte* block, byte* head, int row) => PutHalf(block, head, row) & PutHalf(block + 2, head + 32, row);

    /// <summary>A block that begins with an E8M0 scale.</summary>
    public static bool PowerOfTwo(byte* block, byte* head, int row)
    {
        head[row] = block[0];
        return true;
    }

    /// <summary>Q4_K and Q5_K: d, dmin, eight scales and eight minima of 6 bits in 12 bytes (<see cref="PackedScales"/>).</summary>
    public static bool SixBits(byte* block, byte* head, int row)
    {
        byte* packed = block + 4;
        for (int run = 0; run < 8; run++)
        {
            int scale = run < 4 ? packed[run] & 63 : (packed[run + 4] & 15) | (packed[run - 4] >> 6 << 4);
            int minimum = run < 4 ? packed[run + 4] & 63 : (packed[run + 4] >> 4) | (packed[run] >> 6 << 4);
            head[64 + (16 * run) + row] = (byte)scale;
            head[192 + (16 * run) + row] = (byte)minimum;
        }

        return PutHalf(block, head, row) & PutHalf(block + 2, head + 32, row);
    }

    /// <summary>IQ4_XS: d, eight scales of 6 bits less 32.</summary>
    public static bool IQ4_XS(byte* block, byte* head, int row)
    {
        for (int run = 0; run < 8; run++)
            head[32 + (16 * run) + row] = (byte)Core.Formats.IQ4_XS.Scale(in Unsafe.AsRef<IQ4_XS>(block), run);
        return PutHalf(block, head, row);
    }

    /// <summary>Q6_K: sixteen signed scales, d.</summary>
    public static bool Q6_K(byte* block, byte* head, int row)
    {
        for (int sixteen = 0; sixteen < 16; sixteen++)
            head[32 + (16 * sixteen) + row] = block[192 + sixteen];
        return PutHalf(block + 208, head, row);
    }

    /// <summary>Q3_K: sixteen scales of 6 bits less 32 in 12 bytes, d.</summary>
    public static bool Q3_K(byte* block, byte* head, int row)
    {
        ReadOnlySpan<byte> packed = new(block + 96, 12);
        for (int sixteen = 0; sixteen < 16; sixteen++)
            head[32 + (16 * sixteen) + row] = (byte)Core.Formats.Q3_K.Scale(packed, sixteen);
        return PutHalf(block + 108, head, row);
    }

    /// <summary>Q2_K: sixteen bytes of a scale and, above it, a minimum, then d and dmin.</summary>
    public static bool Q2_K(byte* block, byte* head, int row)
    {
        for (int sixteen = 0; sixteen < 16; sixteen++)
            head[64 + (16 * sixteen) + row] = block[sixteen];
        return PutHalf(block + 80, head, row) & PutHalf(block + 82, head + 32, row);
    }

    /// <summary>Packs a half. Those of 64 and more, infinite ones and NaN have no place.</summary>
    public static bool PackHalf(ushort half, ushort* packed)
    {
        int exponent = half >> 10 & 31;
        *packed = exponent == 0 ? BitConverter.HalfToUInt16Bits((Half)(Bits.HalfAt((byte*)&half) * 1024)) : (ushort)(half + (10 << 10));
        return exponent <= 20;
    }

    private static bool PutHalf(byte* half, byte* head, int row) => PackHalf(Unsafe.ReadUnaligned<ushort>(half), (ushort*)head + row);
}
