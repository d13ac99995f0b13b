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

    private static readonly BestMinShape s_best = new(16, 16, 3, 15);

    /// <inheritdoc/>
    public static int Values => 256;

    private static GroupedMinShape Shape => new(16, 3, 15, new ScaleTrials(-0.5f, 0.1f, 15), IsAbsolute: true, VarianceFactor: 1);

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

    /// <inheritdoc/>
    public static void Encode(ReadOnlySpan<float> values, out Q2_K block) => Encode(values, [], out block);

    /// <inheritdoc/>
    public static void EncodeWeighted(ReadOnlySpan<float> row, ReadOnlySpan<float> importance, Span<Q2_K> blocks)
    {
        for (int b = 0; b < blocks.Length; b++)
            Encode(row.Slice(b * 256, 256), importance.Slice(b * 256, 256), out blocks[b]);
    }

    /// <inheritdoc/>
    public static bool TrySearch(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, out Q2_K block)
    {
        Span<byte> codes = stackalloc byte[256], scales = stackalloc byte[16], mins = stackalloc byte[16];
        block = default;
        (block.D, block.Dmin) = BestMinSearch.Encode(values, weights, s_best, codes, scales, mins);
        Pack(codes, scales, mins, ref block);
        return true;
    }

    private static void Encode(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, out Q2_K block)
    {
        Span<byte> codes = stackalloc byte[256], scales = stackalloc byte[16], mins = stackalloc byte[16];
        block = default;
        (block.D, block.Dmin) = GroupedMinEncoder.Encode(values, importance, Shape, codes, scales, mins);
        Pack(codes, scales, mins, ref block);
    }

    private static void Pack(ReadOnlySpan<byte> codes, ReadOnlySpan<byte> scales, ReadOnlySpan<byte> mins, ref Q2_K block)
    {
        for (int group = 0; group < 16; group++)
            block.Scales[group] = (byte)(scales[group] | mins[group] << 4);
        CodePacking.Pairs(codes, block.Qs);
    }

    /// <inheritdoc/>
    public static bool TryPack(in BlockParts parts, out Q2_K block)
    {
        block = default;
        (block.D, block.Dmin) = (parts.D, parts.Dmin);
        Pack(parts.Codes, MemoryMarshal.AsBytes(parts.Scales), parts.Minima, ref block);
        return true;
    }
}
