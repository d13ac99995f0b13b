namespace Nibble.Core.Formats;

/// <summary>The 12 bytes in which Q4_K and Q5_K pack 8 scales and 8 minima of 6 bits each. Source: ggml-quants.c, llama.cpp v0.5.0.</summary>
public static class PackedScales
{
    /// <summary>
    /// The scale and the minimum of one group of 32 values. Groups 0 to 3 lie in the low six bits of bytes j and j + 4; groups 4 to 7 in
    /// the nibbles of byte j + 4, with their high two bits in the top of bytes j - 4 and j.
    /// </summary>
    /// <param name="scales">[12] packed bytes.</param>
    /// <param name="group">j, 0 to 7.</param>
    /// <returns>Scale and minimum, 0 to 63 each.</returns>
    public static (int Scale, int Min) Get(ReadOnlySpan<byte> scales, int group) =>
        group < 4
            ? (scales[group] & 63, scales[group + 4] & 63)
            : (scales[group + 4] & 15 | scales[group - 4] >> 6 << 4, scales[group + 4] >> 4 | scales[group] >> 6 << 4);

    /// <summary>Packs what <see cref="Get"/> takes out.</summary>
    /// <param name="scales">[8] 0 to 63.</param>
    /// <param name="mins">[8] 0 to 63.</param>
    /// <param name="packed">[12] overwritten.</param>
    public static void Set(ReadOnlySpan<byte> scales, ReadOnlySpan<byte> mins, Span<byte> packed)
    {
        for (int j = 0; j < 4; j++)
        {
            packed[j] = (byte)(scales[j] | scales[j + 4] >> 4 << 6);
            packed[j + 4] = (byte)(mins[j] | mins[j + 4] >> 4 << 6);
            packed[j + 8] = (byte)(scales[j + 4] & 15 | mins[j + 4] << 4);
        }
    }
}
