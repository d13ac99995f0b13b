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

    private static readonly BestScaleShape s_best = new(LevelSet.Even(-32, 31), 16, 16, -128, 127);

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

    /// <inheritdoc/>
    public static void Encode(ReadOnlySpan<float> values, out Q6_K block) => Encode(values, [], out block);

    /// <inheritdoc/>
    public static void EncodeWeighted(ReadOnlySpan<float> row, ReadOnlySpan<float> importance, Span<Q6_K> blocks)
    {
        for (int b = 0; b < blocks.Length; b++)
            Encode(row.Slice(b * 256, 256), importance.Slice(b * 256, 256), out blocks[b]);
    }

    /// <inheritdoc/>
    public static bool TrySearch(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, out Q6_K block)
    {
        Span<byte> codes = stackalloc byte[256], scales = stackalloc byte[16];
        block = default;
        block.D = BestScaleSearch.Encode(values, weights, s_best, codes, scales);
        for (int group = 0; group < 16; group++) block.Scales[group] = (sbyte)(scales[group] - 128);
        Pack(codes, ref block);
        return true;
    }

    private static void Encode(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, out Q6_K block)
    {
        Span<byte> codes = stackalloc byte[256];
        Span<float> groupScales = stackalloc float[16], squares = stackalloc float[16];
        for (int group = 0; group < 16; group++)
        {
            ReadOnlySpan<float> x = values.Slice(group * 16, 16), weights = squares;
            if (importance.IsEmpty) Rounding.Squares(x, squares);
            else weights = importance.Slice(group * 16, 16);
            groupScales[group] = ScaleSearch.Signed(x, weights, 32, codes.Slice(group * 16, 16));
        }

        block = default;
        float extreme = Rounding.Extreme(groupScales);
        if (MathF.Abs(extreme) < Rounding.Tiny) return;
        float inverse = -128 / extreme;
        block.D = HalfConversion.ToHalf(1 / inverse);
        float d = (float)block.D;
        for (int group = 0; group < 16; group++)
        {
            block.Scales[group] = (sbyte)Rounding.Nearest(inverse * groupScales[group], -128, 127);
            GroupedScaleEncoder.RoundGroup(values.Slice(group * 16, 16), d * block.Scales[group], 32, codes.Slice(group * 16, 16));
        }

        Pack(codes, ref block);
    }

    private static void Pack(ReadOnlySpan<byte> codes, ref Q6_K block)
    {
        Span<byte> ql = block.Ql, qh = block.Qh;
        for (int i = 0; i < 64; i++)
        {
            // The four codes of a half, 32 apart, that share their high bits' byte.
            int half = i / 32, l = i % 32;
            ReadOnlySpan<byte> q = codes[(half * 128 + l)..];
            ql[64 * half + l] = (byte)(q[0] & 15 | q[64] << 4);
            ql[64 * half + 32 + l] = (byte)(q[32] & 15 | q[96] << 4);
            qh[i] = (byte)(q[0] >> 4 | q[32] >> 4 << 2 | q[64] >> 4 << 4 | q[96] >> 4 << 6);
        }
    }

    /// <inheritdoc/>
    public static bool TryPack(in BlockParts parts, out Q6_K block)
    {
        block = default;
        block.D = parts.D;
        parts.Scales.CopyTo(block.Scales);
        Pack(parts.Codes, ref block);
        return true;
    }
}
