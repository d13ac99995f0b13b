using System.Runtime.InteropServices;

namespace Nibble.Core.Formats;

/// <summary>Q4_1: 32 values of 4 bits with a scale and a minimum, in 20 bytes (5 bits per weight).</summary>
/// <remarks>Bytes: d f16 @0, m f16 @2, qs[16] @4. Value i = d * q + m, q the low nibble of qs[i] for i &lt; 16 and the high nibble of qs[i - 16] above. Layout: <c>block_q4_1</c> of ggml-common.h, llama.cpp v0.5.0.</remarks>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct Q4_1 : IBlock<Q4_1>
{
    /// <summary>d: the scale.</summary>
    public Half D;

    /// <summary>m: the minimum.</summary>
    public Half M;

    /// <summary>Nibbles: value j low, value j + 16 high.</summary>
    public Bytes16 Qs;

    /// <inheritdoc/>
    public static int Values => 32;

    /// <inheritdoc/>
    public static void Decode(in Q4_1 block, Span<float> values)
    {
        float d = (float)block.D, m = (float)block.M;
        ReadOnlySpan<byte> qs = block.Qs;
        for (int j = 0; j < 16; j++)
        {
            values[j] = d * (qs[j] & 15) + m;
            values[j + 16] = d * (qs[j] >> 4) + m;
        }
    }
}
