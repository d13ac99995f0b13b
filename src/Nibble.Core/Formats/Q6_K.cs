using System.Runtime.InteropServices;

namespace Nibble.Core.Formats;

/// <summary>Q6_K: 256 values of 6 bits in 16 groups of 16, each with a signed 8-bit scale, in 210 bytes (6.5625 bits per weight).</summary>
/// <remarks>Bytes: ql[128] @0, qh[64] @128, scales i8[16] @192, d f16 @208. Value i = (d * scales[i / 16]) * (q - 32); with n = i / 128, k = i % 128 / 32, l = i % 32 the low four bits of q are the nibble of ql[64 n + 32 (k &amp; 1) + l], low for k &lt; 2, and the high two are qh[32 n + l] >> 2 k &amp; 3. Layout: <c>block_q6_K</c> of ggml-common.h, llama.cpp v0.5.0.</remarks>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct Q6_K : IBlock<Q6_K>
{
    /// <summary>Low four bits.</summary>
    public Bytes128 Ql;

    /// <summary>High two bits.</summary>
    public Bytes64 Qh;

    /// <summary>The scale of each group of 16.</summary>
    public SBytes16 Scales;

    /// <summary>d: the scale of the scales.</summary>
    public Half D;

    /// <inheritdoc/>
    public static int Values => 256;

    /// <inheritdoc/>
    public static void Decode(in Q6_K block, Span<float> values)
    {
        float d = (float)block.D;
        ReadOnlySpan<byte> ql = block.Ql, qh = block.Qh;
        ReadOnlySpan<sbyte> scales = block.Scales;
        for (int group = 0; group < 16; group++)
        {
            float scale = d * scales[group];
            int n = group / 8, k = group % 8 / 2, half = group % 2 * 16;
            int lowShift = k / 2 * 4, highShift = 2 * k;
            ReadOnlySpan<byte> low = ql.Slice(64 * n + 32 * (k & 1) + half, 16), high = qh.Slice(32 * n + half, 16);
            Span<float> y = values.Slice(group * 16, 16);
            for (int l = 0; l < 16; l++)
                y[l] = scale * ((low[l] >> lowShift & 15 | (high[l] >> highShift & 3) << 4) - 32);
        }
    }
}
