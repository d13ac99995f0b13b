using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Nibble.Core.Formats;

namespace Nibble.Cpu.Codes;

/// <summary>Q4_0: codes are nibbles less 8.</summary>
internal readonly unsafe struct Q4_0Codes : IUnpack
{
    public static BlockFormat Format => BlockFormats.Q4_0;

    public static int Values => 32;

    public static int Bytes => 18;

    public static bool HasMins => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, sbyte* codes, float* scales, float* mins)
    {
        Vector128<byte> q = Bits.Bytes16(block + 2);
        (Vector256.Create(Bits.Low(q), Bits.High(q)).AsSByte() - Vector256.Create((sbyte)8)).Store(codes);
        Bits.Pair(scales, Bits.HalfAt(block));
    }
}

/// <summary>Q4_1: codes are nibbles.</summary>
internal readonly unsafe struct Q4_1Codes : IUnpack
{
    public static BlockFormat Format => BlockFormats.Q4_1;

    public static int Values => 32;

    public static int Bytes => 20;

    public static bool HasMins => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, sbyte* codes, float* scales, float* mins)
    {
        Vector128<byte> q = Bits.Bytes16(block + 4);
        Vector256.Create(Bits.Low(q), Bits.High(q)).AsSByte().Store(codes);
        Bits.Pairs(Bits.HalvesAt(block), scales, mins);
    }
}

/// <summary>Q5_0: codes are nibbles with a fifth bit, less 16.</summary>
internal readonly unsafe struct Q5_0Codes : IUnpack
{
    public static BlockFormat Format => BlockFormats.Q5_0;

    public static int Values => 32;

    public static int Bytes => 22;

    public static bool HasMins => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, sbyte* codes, float* scales, float* mins)
    {
        uint high = Unsafe.ReadUnaligned<uint>(block + 2);
        Vector128<byte> q = Bits.Bytes16(block + 6);
        Vector256<byte> code = Vector256.Create(Bits.Low(q) | Bits.FifthBits(high & 0xFFFF), Bits.High(q) | Bits.FifthBits(high >> 16));
        (code.AsSByte() - Vector256.Create((sbyte)16)).Store(codes);
        Bits.Pair(scales, Bits.HalfAt(block));
    }
}

/// <summary>Q5_1: codes are nibbles with a fifth bit.</summary>
internal readonly unsafe struct Q5_1Codes : IUnpack
{
    public static BlockFormat Format => BlockFormats.Q5_1;

    public static int Values => 32;

    public static int Bytes => 24;

    public static bool HasMins => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, sbyte* codes, float* scales, float* mins)
    {
        uint high = Unsafe.ReadUnaligned<uint>(block + 4);
        Vector128<byte> q = Bits.Bytes16(block + 8);
        Vector256.Create(Bits.Low(q) | Bits.FifthBits(high & 0xFFFF), Bits.High(q) | Bits.FifthBits(high >> 16)).AsSByte().Store(codes);
        Bits.Pairs(Bits.HalvesAt(block), scales, mins);
    }
}

/// <summary>Q8_0: codes as they are, -128 included.</summary>
internal readonly unsafe struct Q8_0Codes : IUnpack
{
    public static BlockFormat Format => BlockFormats.Q8_0;

    public static int Values => 32;

    public static int Bytes => 34;

    public static bool HasMins => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, sbyte* codes, float* scales, float* mins)
    {
        Vector256.Load((sbyte*)block + 2).Store(codes);
        Bits.Pair(scales, Bits.HalfAt(block));
    }
}
