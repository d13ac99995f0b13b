namespace Nibble.Core.Formats;

/// <summary>Rounds 256 values in 16 groups of 16 by scales of either sign: what Q3_K and Q6_K share. Source of the order: ggml-quants.c, llama.cpp v0.5.0.</summary>
internal static class GroupedScaleEncoder
{
    /// <summary>The codes, plus <paramref name="bound"/>, nearest to values by the scale that the file will hold. Where that scale is 0 the codes do not matter, and stay as they are.</summary>
    /// <param name="values">[16] float32.</param>
    /// <param name="scale">Scale of the group.</param>
    /// <param name="bound">Codes lie in -bound to bound - 1.</param>
    /// <param name="codes">[16] overwritten.</param>
    public static void RoundGroup(ReadOnlySpan<float> values, float scale, int bound, Span<byte> codes)
    {
        if (scale == 0) return;
        for (int i = 0; i < values.Length; i++)
            codes[i] = (byte)(Rounding.Nearest(values[i] / scale, -bound, bound - 1) + bound);
    }
}
