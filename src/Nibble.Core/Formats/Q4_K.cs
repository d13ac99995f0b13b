using System.Runtime.InteropServices;

namespace Nibble.Core.Formats;

/// <summary>Q4_K: 256 values of 4 bits in 8 groups of 32, each with a 6-bit scale and a 6-bit minimum, in 144 bytes (4.5 bits per weight).</summary>
/// <remarks>Bytes: d f16 @0, dmin f16 @2, scales[12] @4, qs[128] @16. Value i = (d * sc) * q - dmin * m with (sc, m) of group i / 32 by <see cref="PackedScales.Get"/>, q the nibble of qs[32 (i / 64) + i % 32], low for i % 64 &lt; 32. Layout: <c>block_q4_K</c> of ggml-common.h, llama.cpp v0.5.0.</remarks>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct Q4_K : IBlock<Q4_K>
{
    /// <summary>d: the scale of the scales.</summary>
    public Half D;

    /// <summary>dmin: the scale of the minima.</summary>
    public Half Dmin;

    /// <summary>8 scales and 8 minima of 6 bits: see <see cref="PackedScales"/>.</summary>
    public Bytes12 Scales;

    /// <summary>Nibbles: byte l of each 32 holds value l (low) and l + 32 (high) of its 64.</summary>
    public Bytes128 Qs;

    private static readonly BestMinShape s_best = new(32, 8, 15, 63);

    /// <inheritdoc/>
    public static int Values => 256;

    private static GroupedMinShape Shape => new(32, 15, 63, new ScaleTrials(-1, 0.1f, 20), IsAbsolute: false, VarianceFactor: 2);

    /// <inheritdoc/>
    public static void Decode(in Q4_K block, Span<float> values)
    {
        float d = (float)block.D, dmin = (float)block.Dmin;
        ReadOnlySpan<byte> scales = block.Scales, qs = block.Qs;
        for (int group = 0; group < 8; group++)
        {
            (int sc, int m) = PackedScales.Get(scales, group);
            float scale = d * sc, min = dmin * m;
            int shift = group % 2 * 4;
            ReadOnlySpan<byte> q = qs.Slice(group / 2 * 32, 32);
            Span<float> y = values.Slice(group * 32, 32);
            for (int l = 0; l < 32; l++)
                y[l] = scale * (q[l] >> shift & 15) - min;
        }
    }

    /// <inheritdoc/>
    public static void Encode(ReadOnlySpan<float> values, out Q4_K block) => Encode(values, [], out block);

    /// <inheritdoc/>
    public static void EncodeWeighted(ReadOnlySpan<float> row, ReadOnlySpan<float> importance, Span<Q4_K> blocks)
    {
        for (int b = 0; b < blocks.Length; b++)
            Encode(row.Slice(b * 256, 256), importance.Slice(b * 256, 256), out blocks[b]);
    }

    /// <inheritdoc/>
    public static bool TrySearch(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, out Q4_K block)
    {
        Span<byte> codes = stackalloc byte[256], scales = stackalloc byte[8], mins = stackalloc byte[8];
        block = default;
        (block.D, block.Dmin) = BestMinSearch.Encode(values, weights, s_best, codes, scales, mins);
        Pack(codes, scales, mins, ref block);
        return true;
    }

    private static void Encode(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, out Q4_K block)
    {
        Span<byte> codes = stackalloc byte[256], scales = stackalloc byte[8], mins = stackalloc byte[8];
        block = default;
        (block.D, block.Dmin) = GroupedMinEncoder.Encode(values, importance, Shape, codes, scales, mins);
        Pack(codes, scales, mins, ref block);
    }

    private static void Pack(ReadOnlySpan<byte> codes, ReadOnlySpan<byte> scales, ReadOnlySpan<byte> mins, ref Q4_K block)
    {
        PackedScales.Set(scales, mins, block.Scales);
        CodePacking.NibblesOf64(codes, block.Qs);
    }

    /// <inheritdoc/>
    public static bool TryPack(in BlockParts parts, out Q4_K block)
    {
        block = default;
        (block.D, block.Dmin) = (parts.D, parts.Dmin);
        Pack(parts.Codes, MemoryMarshal.AsBytes(parts.Scales), parts.Minima, ref block);
        return true;
    }
}
