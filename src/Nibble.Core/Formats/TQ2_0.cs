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

    /// <summary>Encodes one block: d = the largest magnitude, stored as f16; q = value * (1 / d) + 1 with the unrounded d, halves away from zero.</summary>
    /// <param name="values">[256] float32.</param>
    /// <param name="block">The block, overwritten.</param>
    public static void Encode(ReadOnlySpan<float> values, out TQ2_0 block)
    {
        Span<byte> codes = stackalloc byte[256];
        block = default;
        block.D = HalfConversion.ToHalf(Digits(values, codes));
        CodePacking.Pairs(codes, block.Qs);
    }

    /// <summary>Rounds 256 values to -1, 0 or 1 times their largest magnitude.</summary>
    /// <param name="values">[256] float32.</param>
    /// <param name="codes">[256] 0, 1 or 2, overwritten.</param>
    /// <returns>The largest magnitude.</returns>
    internal static float Digits(ReadOnlySpan<float> values, Span<byte> codes)
    {
        float d = MathF.Abs(Rounding.Extreme(values)), inverse = d == 0 ? 0 : 1 / d;
        for (int i = 0; i < 256; i++)
        {
            float q = values[i] * inverse;
            codes[i] = (byte)(float.IsFinite(q) ? (int)MathF.Round(q, MidpointRounding.AwayFromZero) + 1 : 1);
        }

        return d;
    }

    /// <inheritdoc/>
    public static bool TrySearch(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, out TQ2_0 block)
    {
        Span<byte> codes = stackalloc byte[256];
        block = default;
        block.D = BestDigits(values, weights, codes);
        CodePacking.Pairs(codes, block.Qs);
        return true;
    }

    /// <summary>
    /// Rounds 256 values to -1, 0 or 1 times the scale that leaves the least weighted squared error: those of largest magnitude take a digit, and of all counts k of them the one is kept for which
    /// S(w |x|)^2 / S(w) over the first k is largest.
    /// </summary>
    /// <param name="values">[256] float32.</param>
    /// <param name="weights">[256] what an error counts.</param>
    /// <param name="codes">[256] 0, 1 or 2, overwritten.</param>
    /// <returns>The scale.</returns>
    internal static Half BestDigits(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, Span<byte> codes)
    {
        Span<float> magnitudes = stackalloc float[256];
        Span<int> order = stackalloc int[256];
        for (int i = 0; i < 256; i++) (magnitudes[i], order[i]) = (-MathF.Abs(values[i]), i);
        magnitudes.Sort(order);
        double cross = 0, square = 0, best = 0, scale = 0;
        foreach (int i in order)
        {
            cross += weights[i] * (double)MathF.Abs(values[i]);
            square += weights[i];
            if (!(square > 0) || !(cross * cross > best * square)) continue;
            (best, scale) = (cross * cross / square, cross / square);
        }

        Half d = HalfConversion.ToHalf((float)scale);
        float half = (float)d / 2;
        for (int i = 0; i < 256; i++) codes[i] = (byte)(values[i] > half ? 2 : values[i] < -half ? 0 : 1);
        return d;
    }
}
