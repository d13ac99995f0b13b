using System.Runtime.InteropServices;

namespace Nibble.Core.Formats;

/// <summary>Q4_0: 32 values of 4 bits with one scale, in 18 bytes (4.5 bits per weight).</summary>
/// <remarks>Bytes: d f16 @0, qs[16] @2. Value i = d * (q - 8), q the low nibble of qs[i] for i &lt; 16 and the high nibble of qs[i - 16] above. Layout: <c>block_q4_0</c> of ggml-common.h, llama.cpp v0.5.0.</remarks>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct Q4_0 : IBlock<Q4_0>
{
    /// <summary>d: the scale.</summary>
    public Half D;

    /// <summary>Nibbles: value j low, value j + 16 high.</summary>
    public Bytes16 Qs;

    /// <inheritdoc/>
    public static int Values => 32;

    /// <inheritdoc/>
    public static void Decode(in Q4_0 block, Span<float> values)
    {
        float d = (float)block.D;
        ReadOnlySpan<byte> qs = block.Qs;
        for (int j = 0; j < 16; j++)
        {
            values[j] = d * ((qs[j] & 15) - 8);
            values[j + 16] = d * ((qs[j] >> 4) - 8);
        }
    }
}
