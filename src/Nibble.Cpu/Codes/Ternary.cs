using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Nibble.Core.Formats;

namespace Nibble.Cpu.Codes;

/// <summary>TQ1_0: codes -1, 0 and 1, five base-3 digits to a byte.</summary>
internal readonly unsafe struct TQ1_0Codes : IUnpack
{
    public static BlockFormat Format => BlockFormats.TQ1_0;

    public static int Values => 256;

    public static int Bytes => 54;

    public static bool HasMins => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, sbyte* codes, float* scales, float* mins)
    {
        Digits(block, codes, 32);
        Digits(block + 16, codes + 16, 32);
        Digits(block + 32, codes + 160, 16);
        uint power = 1;
        for (int digit = 0; digit < 4; digit++, power *= 3)
            for (int i = 0; i < 4; i++)
                codes[240 + (4 * digit) + i] = (sbyte)(((block[48 + i] * power & 255) * 3 >> 8) - 1);
        new Span<float>(scales, 16).Fill(Bits.HalfAt(block + 52));
    }

    // Five digits of 16 bytes; codes of one digit follow those of the last after so many.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Digits(byte* bytes, sbyte* codes, int step)
    {
        (Vector128<ushort> low, Vector128<ushort> high) = Vector128.Widen(Bits.Bytes16(bytes));
        Vector128<ushort> mask = Vector128.Create((ushort)255);
        for (int digit = 0; digit < 5; digit++)
        {
            Vector128<byte> trits = Vector128.Narrow(low * 3 >>> 8, high * 3 >>> 8);
            (trits.AsSByte() - Vector128<sbyte>.One).Store(codes + (step * digit));
            low = low * 3 & mask;
            high = high * 3 & mask;
        }
    }
}

/// <summary>TQ2_0: codes of 2 bits less 1.</summary>
internal readonly unsafe struct TQ2_0Codes : IUnpack
{
    public static BlockFormat Format => BlockFormats.TQ2_0;

    public static int Values => 256;

    public static int Bytes => 66;

    public static bool HasMins => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, sbyte* codes, float* scales, float* mins)
    {
        TwoBits.Unpack(block, codes);
        TwoBits.Unpack(block + 32, codes + 128);
        for (int i = 0; i < 256; i += 32)
            (Vector256.Load(codes + i) - Vector256<sbyte>.One).Store(codes + i);
        new Span<float>(scales, 16).Fill(Bits.HalfAt(block + 64));
    }
}
