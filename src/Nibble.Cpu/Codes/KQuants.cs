using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Nibble.Core.Formats;

namespace Nibble.Cpu.Codes;

/// <summary>Q2_K: codes of 2 bits, a scale and a minimum per 16.</summary>
internal readonly unsafe struct Q2_KCodes : IUnpack
{
    public static BlockFormat Format => BlockFormats.Q2_K;

    public static int Values => 256;

    public static int Bytes => 84;

    public static bool HasMins => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, sbyte* codes, float* scales, float* mins)
    {
        float d = Bits.HalfAt(block + 80), dmin = Bits.HalfAt(block + 82);
        for (int group = 0; group < 16; group++)
        {
            scales[group] = d * (block[group] & 15);
            mins[group] = -(dmin * (block[group] >> 4));
        }

        TwoBits.Unpack(block + 16, codes);
        TwoBits.Unpack(block + 48, codes + 128);
    }
}

/// <summary>Q3_K: codes of 2 bits, less 4 where the bit of the mask is not set; a signed scale per 16.</summary>
internal readonly unsafe struct Q3_KCodes : IUnpack
{
    public static BlockFormat Format => BlockFormats.Q3_K;

    public static int Values => 256;

    public static int Bytes => 110;

    public static bool HasMins => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, sbyte* codes, float* scales, float* mins)
    {
        float d = Bits.HalfAt(block + 108);
        ReadOnlySpan<byte> packed = new(block + 96, 12);
        for (int group = 0; group < 16; group++)
            scales[group] = d * Q3_K.Scale(packed, group);

        Vector256<byte> high = Bits.Bytes32(block);
        for (int run = 0; run < 8; run++)
        {
            Vector256<byte> low = Bits.Bytes32(block + 32 + (run / 4 * 32)) >>> (2 * (run % 4)) & Vector256.Create((byte)3);
            Vector256<byte> third = (high >>> run & Vector256<byte>.One) << 2;
            ((low | third).AsSByte() - Vector256.Create((sbyte)4)).Store(codes + (32 * run));
        }
    }
}

/// <summary>Q4_K: codes are nibbles, a scale and a minimum per 32.</summary>
internal readonly unsafe struct Q4_KCodes : IUnpack
{
    public static BlockFormat Format => BlockFormats.Q4_K;

    public static int Values => 256;

    public static int Bytes => 144;

    public static bool HasMins => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, sbyte* codes, float* scales, float* mins)
    {
        SixBits.Unpack(block, scales, mins);
        for (int pair = 0; pair < 4; pair++)
        {
            Vector256<byte> q = Bits.Bytes32(block + 16 + (32 * pair));
            (q & Vector256.Create((byte)15)).AsSByte().Store(codes + (64 * pair));
            (q >>> 4).AsSByte().Store(codes + (64 * pair) + 32);
        }
    }
}

/// <summary>Q5_K: as Q4_K with a fifth bit.</summary>
internal readonly unsafe struct Q5_KCodes : IUnpack
{
    public static BlockFormat Format => BlockFormats.Q5_K;

    public static int Values => 256;

    public static int Bytes => 176;

    public static bool HasMins => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, sbyte* codes, float* scales, float* mins)
    {
        SixBits.Unpack(block, scales, mins);
        Vector256<byte> high = Bits.Bytes32(block + 16), one = Vector256<byte>.One;
        for (int pair = 0; pair < 4; pair++)
        {
            Vector256<byte> q = Bits.Bytes32(block + 48 + (32 * pair));
            (q & Vector256.Create((byte)15) | (high >>> (2 * pair) & one) << 4).AsSByte().Store(codes + (64 * pair));
            (q >>> 4 | (high >>> ((2 * pair) + 1) & one) << 4).AsSByte().Store(codes + (64 * pair) + 32);
        }
    }
}

/// <summary>Q6_K: codes of 6 bits less 32, a signed scale per 16.</summary>
internal readonly unsafe struct Q6_KCodes : IUnpack
{
    public static BlockFormat Format => BlockFormats.Q6_K;

    public static int Values => 256;

    public static int Bytes => 210;

    public static bool HasMins => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, sbyte* codes, float* scales, float* mins)
    {
        float d = Bits.HalfAt(block + 208);
        for (int group = 0; group < 16; group++)
            scales[group] = d * (sbyte)block[192 + group];
        Half(block, block + 128, codes);
        Half(block + 64, block + 160, codes + 128);
    }

    // 128 values: 64 bytes with the low four bits, 32 with the high two.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Half(byte* low, byte* high, sbyte* codes)
    {
        Vector256<byte> a = Bits.Bytes32(low), b = Bits.Bytes32(low + 32), h = Bits.Bytes32(high);
        Vector256<byte> nibble = Vector256.Create((byte)15), top = Vector256.Create((byte)0x30);
        Vector256<sbyte> offset = Vector256.Create((sbyte)32);
        ((a & nibble | h << 4 & top).AsSByte() - offset).Store(codes);
        ((b & nibble | h << 2 & top).AsSByte() - offset).Store(codes + 32);
        ((a >>> 4 | h & top).AsSByte() - offset).Store(codes + 64);
        ((b >>> 4 | h >>> 2 & top).AsSByte() - offset).Store(codes + 96);
    }
}

/// <summary>The 6-bit scales and minima of Q4_K and Q5_K (<see cref="PackedScales"/>), all eight at once.</summary>
internal static unsafe class SixBits
{
    /// <summary>Unpacks the head of a block: d, dmin, 12 bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, float* scales, float* mins)
    {
        float d = Bits.HalfAt(block), dmin = Bits.HalfAt(block + 2);
        uint a = Unsafe.ReadUnaligned<uint>(block + 4), b = Unsafe.ReadUnaligned<uint>(block + 8), c = Unsafe.ReadUnaligned<uint>(block + 12);

        // Byte j of each word belongs to group j, or to group j + 4 in the upper words.
        Four(a & 0x3F3F3F3F, d, scales);
        Four(c & 0x0F0F0F0F | a >> 2 & 0x30303030, d, scales + 8);
        Four(b & 0x3F3F3F3F, -dmin, mins);
        Four(c >> 4 & 0x0F0F0F0F | b >> 2 & 0x30303030, -dmin, mins + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Four(uint bytes, float factor, float* values)
    {
        for (int j = 0; j < 4; j++)
            Bits.Pair(values + (2 * j), factor * (int)(bytes >> (8 * j) & 255));
    }
}

/// <summary>Codes of 2 bits as Q2_K and TQ2_0 keep them.</summary>
internal static unsafe class TwoBits
{
    /// <summary>Unpacks 32 bytes into 128 codes: byte l holds values l, l + 32, l + 64 and l + 96.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* bytes, sbyte* codes)
    {
        Vector256<byte> q = Bits.Bytes32(bytes), mask = Vector256.Create((byte)3);
        (q & mask).AsSByte().Store(codes);
        (q >>> 2 & mask).AsSByte().Store(codes + 32);
        (q >>> 4 & mask).AsSByte().Store(codes + 64);
        (q >>> 6).AsSByte().Store(codes + 96);
    }
}
