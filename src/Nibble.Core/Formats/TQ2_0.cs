using System.Runtime.InteropServices;

namespace Nibble.Core.Formats;

/// <summary>TQ2_0: 256 values of -1, 0 and 1 (and 2, which the two bits allow) with one scale, in 66 bytes (2.0625 bits per weight).</summary>
/// <remarks>Bytes: qs[64] @0, d f16 @64. Value i = d * (q - 1), q = qs[32 (i / 128) + i % 32] >> 2 (i % 128 / 32) &amp; 3. Layout: <c>block_tq2_0</c> of ggml-common.h, llama.cpp v0.5.0.</remarks>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct TQ2_0 : IBlock<TQ2_0>
{
    /// <summary>Two-bit values: byte l of a half holds values l, l + 32, l + 64 and l + 96 of its 128.</summary>
    public Bytes64 Qs;

    /// <summary>d: the scale.</summary>
    public Half D;

    /// <inheritdoc/>
    public static int Values => 256;

    /// <inheritdoc/>
    public static void Decode(in TQ2_0 block, Span<float> values)
    {
        float d = (float)block.D;
        ReadOnlySpan<byte> qs = block.Qs;
        for (int run = 0; run < 8; run++)
        {
            int shift = 2 * (run % 4);
            ReadOnlySpan<byte> q = qs.Slice(run / 4 * 32, 32);
            Span<float> y = values.Slice(run * 32, 32);
            for (int l = 0; l < 32; l++)
                y[l] = d * ((q[l] >> shift & 3) - 1);
        }
    }
}
