using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Nibble.Core.Formats;

namespace Nibble.Cpu.Codes;

/// <summary>IQ4_NL: codes are looked up in <see cref="Codebooks.Iq4Nl"/>.</summary>
internal readonly unsafe struct IQ4_NLCodes : IUnpack
{
    public static BlockFormat Format => BlockFormats.IQ4_NL;

    public static int Values => 32;

    public static int Bytes => 18;

    public static bool HasMins => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, sbyte* codes, float* scales, float* mins)
    {
        Nibbles.LookUp(block + 2, Vector128.Create(Codebooks.Iq4Nl), codes);
        Bits.Pair(scales, Bits.HalfAt(block));
    }
}

/// <summary>IQ4_XS: as IQ4_NL, a signed scale per 32.</summary>
internal readonly unsafe struct IQ4_XSCodes : IUnpack
{
    public static BlockFormat Format => BlockFormats.IQ4_XS;

    public static int Values => 256;

    public static int Bytes => 136;

    public static bool HasMins => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, sbyte* codes, float* scales, float* mins)
    {
        float d = Bits.HalfAt(block);
        Vector128<sbyte> table = Vector128.Create(Codebooks.Iq4Nl);
        for (int group = 0; group < 8; group++)
        {
            Nibbles.LookUp(block + 8 + (16 * group), table, codes + (32 * group));
            Bits.Pair(scales + (2 * group), d * IQ4_XS.Scale(in Unsafe.AsRef<IQ4_XS>(block), group));
        }
    }
}

/// <summary>MXFP4: codes are twice the E2M1 values, the scale is half the power of two.</summary>
internal readonly unsafe struct MXFP4Codes : IUnpack
{
    public static BlockFormat Format => BlockFormats.MXFP4;

    public static int Values => 32;

    public static int Bytes => 17;

    public static bool HasMins => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, sbyte* codes, float* scales, float* mins)
    {
        Nibbles.LookUp(block + 1, Vector128.Create(Codebooks.E2M1Doubled), codes);
        Bits.Pair(scales, ByteScales.HalfE8M0(block[0]));
    }
}

/// <summary>NVFP4: as MXFP4 with an 8-bit float scale per 16, whose nibbles lie together in 8 bytes.</summary>
internal readonly unsafe struct NVFP4Codes : IUnpack
{
    public static BlockFormat Format => BlockFormats.NVFP4;

    public static int Values => 64;

    public static int Bytes => 36;

    public static bool HasMins => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, sbyte* codes, float* scales, float* mins)
    {
        Vector128<byte> table = Vector128.Create(Codebooks.E2M1Doubled).AsByte();
        for (int group = 0; group < 4; group++)
        {
            ulong q = Unsafe.ReadUnaligned<ulong>(block + 4 + (8 * group));
            Vector128<byte> nibbles = Bits.Low(Vector128.Create(q, q >> 4).AsByte());
            Vector128.ShuffleNative(table, nibbles).AsSByte().Store(codes + (16 * group));
            scales[group] = ByteScales.HalfUE4M3(block[group]);
        }
    }
}

/// <summary>Nibbles that index a table.</summary>
internal static unsafe class Nibbles
{
    /// <summary>Looks up 32 nibbles of 16 bytes, the low ones first.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void LookUp(byte* bytes, Vector128<sbyte> table, sbyte* codes)
    {
        Vector128<byte> q = Bits.Bytes16(bytes);
        Vector256.Create(Vector128.ShuffleNative(table.AsByte(), Bits.Low(q)), Vector128.ShuffleNative(table.AsByte(), Bits.High(q))).AsSByte().Store(codes);
    }
}
