using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Nibble.Core.Formats;
using Nibble.Cpu.Codes;

namespace Nibble.Cpu.Packed;

/// <summary>The unsigned codes of one row's block.</summary>
internal static unsafe class RowCodes
{
    /// <summary>[16] <see cref="Codebooks.Iq4Nl"/> plus 128.</summary>
    public static Vector128<byte> Iq4Nl => Vector128.Create((byte)1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241);

    /// <summary>[16] <see cref="Codebooks.E2M1Doubled"/> plus 16.</summary>
    public static Vector128<byte> E2M1 => Vector128.Create((byte)16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4);

    /// <summary>What an unpacker gives, plus an offset.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Of<TUnpack>(byte* block, byte* codes, byte offset)
        where TUnpack : struct, IUnpack
    {
        float* scales = stackalloc float[32];
        TUnpack.Unpack(block, (sbyte*)codes, scales, scales + 16);
        Vector256<byte> add = Vector256.Create(offset);
        for (int i = 0; i < TUnpack.Values; i += 32)
            (Vector256.Load(codes + i) + add).Store(codes + i);
    }

    /// <summary>32 nibbles of 16 bytes, the low ones first.</summary>
    public static void Nibbles(byte* bytes, byte* codes)
    {
        Vector128<byte> q = Bits.Bytes16(bytes);
        Bits.Low(q).Store(codes);
        Bits.High(q).Store(codes + 16);
    }

    /// <summary>256 nibbles of IQ4_XS.</summary>
    public static void IQ4_XS(byte* block, byte* codes)
    {
        for (int run = 0; run < 8; run++)
            Nibbles(block + 8 + (16 * run), codes + (32 * run));
    }
}
