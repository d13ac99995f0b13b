using System.Runtime.InteropServices;

namespace Nibble.Core.Formats;

/// <summary>MXFP4: 32 values of E2M1 (OCP Microscaling Formats v1.0) with one power-of-two scale, in 17 bytes (4.25 bits per weight).</summary>
/// <remarks>Bytes: e E8M0 @0, qs[16] @1. Value i = 2^(e - 128) * F[q], q the nibble as in Q4_0, F = <see cref="Codebooks.E2M1Doubled"/>. ggml gives e = 255, the standard's NaN, the value 2^127, and so do we. Layout: <c>block_mxfp4</c> of ggml-common.h, llama.cpp v0.5.0.</remarks>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct MXFP4 : IBlock<MXFP4>
{
    /// <summary>e: the exponent of the scale.</summary>
    public byte E;

    /// <summary>Nibbles: value j low, value j + 16 high.</summary>
    public Bytes16 Qs;

    /// <inheritdoc/>
    public static int Values => 32;

    /// <inheritdoc/>
    public static void Decode(in MXFP4 block, Span<float> values)
    {
        float d = ByteScales.HalfE8M0(block.E);
        ReadOnlySpan<byte> qs = block.Qs;
        ReadOnlySpan<sbyte> table = Codebooks.E2M1Doubled;
        for (int j = 0; j < 16; j++)
        {
            values[j] = d * table[qs[j] & 15];
            values[j + 16] = d * table[qs[j] >> 4];
        }
    }
}
