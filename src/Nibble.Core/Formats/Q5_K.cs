using System.Runtime.InteropServices;

namespace Nibble.Core.Formats;

/// <summary>Q5_K: 256 values of 5 bits in 8 groups of 32, each with a 6-bit scale and a 6-bit minimum, in 176 bytes (5.5 bits per weight).</summary>
/// <remarks>Bytes: d f16 @0, dmin f16 @2, scales[12] @4, qh[32] @16, qs[128] @48. Value i = (d * sc) * q - dmin * m as in Q4_K, with bit i / 32 of qh[i % 32] as the fifth bit of q. Layout: <c>block_q5_K</c> of ggml-common.h, llama.cpp v0.5.0.</remarks>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct Q5_K : IBlock<Q5_K>
{
    /// <summary>d: the scale of the scales.</summary>
    public Half D;

    /// <summary>dmin: the scale of the minima.</summary>
    public Half Dmin;

    /// <summary>8 scales and 8 minima of 6 bits: see <see cref="PackedScales"/>.</summary>
    public Bytes12 Scales;

    /// <summary>Bit i / 32 of byte i % 32 is the fifth bit of value i.</summary>
    public Bytes32 Qh;

    /// <summary>Low nibbles: byte l of each 32 holds value l (low) and l + 32 (high) of its 64.</summary>
    public Bytes128 Qs;

    private static readonly BestMinShape s_best = new(32, 8, 31, 63);

    /// <inheritdoc/>
    public static int Values => 256;

    private static GroupedMinShape Shape => new(32, 31, 63, new ScaleTrials(-0.5f, 0.1f, 15), IsAbsolute: false, VarianceFactor: 2);

    /// <inheritdoc/>
    public static void Decode(in Q5_K block, Span<float> values)
    {
        float d = (float)block.D, dmin = (float)block.Dmin;
        ReadOnlySpan<byte> scales = block.Scales, qh = block.Qh, qs = block.Qs;
        for (int group = 0; group < 8; group++)
        {
            (int sc, int m) = PackedScales.Get(scales, group);
            float scale = d * sc, min = dmin * m;
            int shift = group % 2 * 4;
            ReadOnlySpan<byte> q = qs.Slice(group / 2 * 32, 32);
            Span<float> y = values.Slice(group * 32, 32);
            for (int l = 0; l < 32; l++)
                y[l] = scale * ((q[l] >> shift & 15) + (qh[l] >> group & 1) * 16) - min;
        }
    }

    /// <inheritdoc/>
    public static void Encode(ReadOnlySpan<float> values, out Q5_K block) => Encode(values, [], out block);

    /// <inheritdoc/>
    public static void EncodeWeighted(ReadOnlySpan<float> row, ReadOnlySpan<float> importance, Span<Q5_K> blocks)
    {
        for (int b = 0; b < blocks.Length; b++)
            Encode(row.Slice(b * 256, 256), importance.Slice(b * 256, 256), out blocks[b]);
    }

    /// <inheritdoc/>
    public static bool TrySearch(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, out Q5_K block)
    {
        Span<byte> codes = stackalloc byte[256], scales = stackalloc byte[8], mins = stackalloc byte[8];
        block = default;
        (block.D, block.Dmin) = BestMinSearch.Encode(values, weights, s_best, codes, scales, mins);
        Pack(codes, scales, mins, ref block);
        return true;
    }

    private static void Encode(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, out Q5_K block)
    {
        Span<byte> codes = stackalloc byte[256], scales = stackalloc byte[8], mins = stackalloc byte[8];
        block = default;
        (block.D, block.Dmin) = GroupedMinEncoder.Encode(values, importance, Shape, codes, scales, mins);
        Pack(codes, scales, mins, ref block);
    }

    private static void Pack(ReadOnlySpan<byte> codes, ReadOnlySpan<byte> scales, ReadOnlySpan<byte> mins, ref Q5_K block)
    {
        PackedScales.Set(scales, mins, block.Scales);
        CodePacking.Bits(codes, 4, block.Qh);
        CodePacking.NibblesOf64(codes, block.Qs);
    }

    /// <inheritdoc/>
    public static bool TryPack(in BlockParts parts, out Q5_K block)
    {
        block = default;
        (block.D, block.Dmin) = (parts.D, parts.Dmin);
        Pack(parts.Codes, MemoryMarshal.AsBytes(parts.Scales), parts.Minima, ref block);
        return true;
    }
}
