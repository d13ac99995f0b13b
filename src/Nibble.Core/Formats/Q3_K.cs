using System.Runtime.InteropServices;

namespace Nibble.Core.Formats;

/// <summary>Q3_K: 256 values of 3 bits in 16 groups of 16, each with a 6-bit scale, in 110 bytes (3.4375 bits per weight).</summary>
/// <remarks>Bytes: hmask[32] @0, qs[64] @32, scales[12] @96, d f16 @108. Value i = (d * (s - 32)) * q with q = (qs[32 (i / 128) + i % 32] >> 2 (i % 128 / 32) &amp; 3) + 4 (hmask[i % 32] >> i / 32 &amp; 1) - 4 and s the scale of group i / 16: see <see cref="Scale"/>. Layout: <c>block_q3_K</c> of ggml-common.h, llama.cpp v0.5.0.</remarks>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct Q3_K : IBlock<Q3_K>
{
    /// <summary>Bit i / 32 of byte i % 32 is the third bit of value i.</summary>
    public Bytes32 Hmask;

    /// <summary>Low two bits: byte l of a half holds values l, l + 32, l + 64 and l + 96 of its 128.</summary>
    public Bytes64 Qs;

    /// <summary>16 packed 6-bit scales.</summary>
    public Bytes12 Scales;

    /// <summary>d: the scale of the scales.</summary>
    public Half D;

    private static readonly BestScaleShape s_best = new(LevelSet.Even(-4, 3), 16, 16, -32, 31);

    /// <inheritdoc/>
    public static int Values => 256;

    /// <inheritdoc/>
    public static void Decode(in Q3_K block, Span<float> values)
    {
        float d = (float)block.D;
        ReadOnlySpan<byte> hmask = block.Hmask, qs = block.Qs, scales = block.Scales;
        for (int group = 0; group < 16; group++)
        {
            float scale = d * Scale(scales, group);
            int shift = 2 * (group % 8 / 2), bit = group / 2, half = group % 2 * 16;
            ReadOnlySpan<byte> q = qs.Slice(group / 8 * 32 + half, 16), high = hmask.Slice(half, 16);
            Span<float> y = values.Slice(group * 16, 16);
            for (int l = 0; l < 16; l++)
                y[l] = scale * ((q[l] >> shift & 3) + (high[l] >> bit & 1) * 4 - 4);
        }
    }

    /// <summary>The signed scale of one group: a nibble of bytes 0 to 7 with two bits of bytes 8 to 11 above it, less 32.</summary>
    /// <param name="scales">[12] packed scales.</param>
    /// <param name="group">0 to 15.</param>
    /// <returns>-32 to 31.</returns>
    public static int Scale(ReadOnlySpan<byte> scales, int group)
    {
        int low = group < 8 ? scales[group] & 15 : scales[group - 8] >> 4;
        int high = scales[8 + group % 4] >> 2 * (group / 4) & 3;
        return (low | high << 4) - 32;
    }

    /// <inheritdoc/>
    public static void Encode(ReadOnlySpan<float> values, out Q3_K block) => Encode(values, [], out block);

    /// <inheritdoc/>
    public static void EncodeWeighted(ReadOnlySpan<float> row, ReadOnlySpan<float> importance, Span<Q3_K> blocks)
    {
        for (int b = 0; b < blocks.Length; b++)
            Encode(row.Slice(b * 256, 256), importance.Slice(b * 256, 256), out blocks[b]);
    }

    /// <summary>Packs what <see cref="Scale"/> takes out.</summary>
    /// <param name="codes">[16] scale + 32, 0 to 63.</param>
    /// <param name="scales">[12] packed, overwritten.</param>
    public static void SetScales(ReadOnlySpan<byte> codes, Span<byte> scales)
    {
        scales.Clear();
        for (int group = 0; group < 16; group++)
        {
            scales[group % 8] |= (byte)((codes[group] & 15) << group / 8 * 4);
            scales[8 + group % 4] |= (byte)(codes[group] >> 4 << 2 * (group / 4));
        }
    }

    /// <inheritdoc/>
    public static bool TrySearch(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, out Q3_K block)
    {
        Span<byte> codes = stackalloc byte[256], scales = stackalloc byte[16];
        block = default;
        block.D = BestScaleSearch.Encode(values, weights, s_best, codes, scales);
        Pack(codes, scales, ref block);
        return true;
    }

    private static void Encode(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, out Q3_K block)
    {
        Span<byte> codes = stackalloc byte[256], scales = stackalloc byte[16];
        Span<float> groupScales = stackalloc float[16], groupWeights = stackalloc float[16], weights = stackalloc float[16];
        float variance = 2 * Rounding.SumOfSquares(values) / 256;
        for (int group = 0; group < 16; group++)
        {
            ReadOnlySpan<float> x = values.Slice(group * 16, 16);
            Span<byte> q = codes.Slice(group * 16, 16);
            if (importance.IsEmpty)
            {
                groupScales[group] = ScaleSearch.SignedBySteps(x, 4, q);
                continue;
            }

            Rounding.Weights(x, importance.Slice(group * 16, 16), variance, weights);
            groupWeights[group] = Rounding.Sum(weights);
            groupScales[group] = ScaleSearch.Signed(x, weights, 4, q);
        }

        block = default;
        block.D = HalfConversion.ToHalf(importance.IsEmpty ? ByExtreme(groupScales, scales) : ScaleSearch.Signed(groupScales, groupWeights, 32, scales));
        float d = (float)block.D;
        for (int group = 0; group < 16; group++)
            GroupedScaleEncoder.RoundGroup(values.Slice(group * 16, 16), d * (scales[group] - 32), 4, codes.Slice(group * 16, 16));
        Pack(codes, scales, ref block);
    }

    // The scale of largest magnitude gets the code -32.
    private static float ByExtreme(ReadOnlySpan<float> values, Span<byte> codes)
    {
        float extreme = Rounding.Extreme(values);
        codes.Clear();
        if (extreme == 0) return 0;
        float inverse = -32 / extreme;
        for (int i = 0; i < values.Length; i++)
            codes[i] = (byte)(Rounding.Nearest(inverse * values[i], -32, 31) + 32);
        return 1 / inverse;
    }

    private static void Pack(ReadOnlySpan<byte> codes, ReadOnlySpan<byte> scales, ref Q3_K block)
    {
        SetScales(scales, block.Scales);
        CodePacking.Pairs(codes, block.Qs);
        CodePacking.Bits(codes, 2, block.Hmask);
    }

    /// <inheritdoc/>
    public static bool TryPack(in BlockParts parts, out Q3_K block)
    {
        block = default;
        Span<byte> scales = stackalloc byte[16];
        for (int group = 0; group < 16; group++) scales[group] = (byte)(parts.Scales[group] + 32);
        block.D = parts.D;
        Pack(parts.Codes, scales, ref block);
        return true;
    }
}
