using System.Runtime.InteropServices;

namespace Nibble.Core.Formats;

/// <summary>Q2_K: 256 values of 2 bits in 16 groups of 16, each with a 4-bit scale and a 4-bit minimum, in 84 bytes (2.625 bits per weight).</summary>
/// <remarks>Bytes: scales[16] @0, qs[64] @16, d f16 @80, dmin f16 @82. Value i = (d * (s &amp; 15)) * q - dmin * (s >> 4) with s = scales[i / 16], q = qs[32 (i / 128) + i % 32] >> 2 (i % 128 / 32) &amp; 3. Layout: <c>block_q2_K</c> of ggml-common.h, llama.cpp v0.5.0.</remarks>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct Q2_K : IBlock<Q2_K>
{
    /// <summary>Per group of 16: scale in the low nibble, minimum in the high one.</summary>
    public Bytes16 Scales;

    /// <summary>Two-bit values: byte l of a half holds values l, l + 32, l + 64 and l + 96 of its 128.</summary>
    public Bytes64 Qs;

    /// <summary>d: the scale of the scales.</summary>
    public Half D;

    /// <summary>dmin: the scale of the minima.</summary>
    public Half Dmin;

    /// <inheritdoc/>
    public static int Values => 256;

    /// <inheritdoc/>
    public static void Decode(in Q2_K block, Span<float> values)
    {
        float d = (float)block.D, dmin = (float)block.Dmin;
        ReadOnlySpan<byte> scales = block.Scales, qs = block.Qs;
        for (int group = 0; group < 16; group++)
        {
            float scale = d * (scales[group] & 15), min = dmin * (scales[group] >> 4);
            int shift = 2 * (group % 8 / 2);
            ReadOnlySpan<byte> q = qs.Slice(group / 8 * 32 + group % 2 * 16, 16);
            Span<float> y = values.Slice(group * 16, 16);
            for (int l = 0; l < 16; l++)
                y[l] = scale * (q[l] >> shift & 3) - min;
        }
    }
}
