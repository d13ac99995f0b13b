using System.Runtime.InteropServices;

namespace Nibble.Core.Formats;

/// <summary>IQ4_XS: 256 values of 4 bits from a fixed non-linear table in 8 groups of 32, each with a 6-bit scale, in 136 bytes (4.25 bits per weight).</summary>
/// <remarks>Bytes: d f16 @0, scales_h u16 @2, scales_l[4] @4, qs[128] @8. Value i = (d * (s - 32)) * T[q]; with g = i / 32 the scale s is nibble g of scales_l with bits 2 g and 2 g + 1 of scales_h above it, q the nibble of qs[16 g + i % 16], low for i % 32 &lt; 16, T = <see cref="Codebooks.Iq4Nl"/>. Layout: <c>block_iq4_xs</c> of ggml-common.h, llama.cpp v0.5.0.</remarks>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct IQ4_XS : IBlock<IQ4_XS>
{
    /// <summary>d: the scale of the scales.</summary>
    public Half D;

    /// <summary>High two bits of the 8 scales.</summary>
    public ushort ScalesH;

    /// <summary>Low four bits of the 8 scales.</summary>
    public Bytes4 ScalesL;

    /// <summary>Nibbles: byte j of each 16 holds value j (low) and j + 16 (high) of its 32.</summary>
    public Bytes128 Qs;

    private static readonly BestScaleShape s_best = new(LevelSet.Iq4Nl, 32, 8, -32, 31);

    /// <inheritdoc/>
    public static int Values => 256;

    /// <inheritdoc/>
    public static void Decode(in IQ4_XS block, Span<float> values)
    {
        float d = (float)block.D;
        ReadOnlySpan<byte> qs = block.Qs;
        ReadOnlySpan<sbyte> table = Codebooks.Iq4Nl;
        for (int group = 0; group < 8; group++)
        {
            float scale = d * Scale(in block, group);
            ReadOnlySpan<byte> q = qs.Slice(group * 16, 16);
            Span<float> y = values.Slice(group * 32, 32);
            for (int j = 0; j < 16; j++)
            {
                y[j] = scale * table[q[j] & 15];
                y[j + 16] = scale * table[q[j] >> 4];
            }
        }
    }

    /// <summary>The signed scale of one group of 32.</summary>
    /// <param name="block">The block.</param>
    /// <param name="group">0 to 7.</param>
    /// <returns>-32 to 31.</returns>
    public static int Scale(in IQ4_XS block, int group)
    {
        int low = block.ScalesL[group / 2] >> group % 2 * 4 & 15;
        int high = block.ScalesH >> 2 * group & 3;
        return (low | high << 4) - 32;
    }

    /// <inheritdoc/>
    public static void Encode(ReadOnlySpan<float> values, out IQ4_XS block) => Encode(values, [], out block);

    /// <inheritdoc/>
    public static void EncodeWeighted(ReadOnlySpan<float> row, ReadOnlySpan<float> importance, Span<IQ4_XS> blocks)
    {
        for (int b = 0; b < blocks.Length; b++)
            Encode(row.Slice(b * 256, 256), importance.Slice(b * 256, 256), out blocks[b]);
    }

    /// <inheritdoc/>
    public static bool TrySearch(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, out IQ4_XS block)
    {
        Span<byte> codes = stackalloc byte[256], scales = stackalloc byte[8];
        block = default;
        block.D = BestScaleSearch.Encode(values, weights, s_best, codes, scales);
        for (int group = 0; group < 8; group++)
        {
            SetScale(ref block, group, scales[group] - 32);
            CodePacking.Nibbles(codes.Slice(group * 32, 32), ((Span<byte>)block.Qs).Slice(group * 16, 16));
        }

        return true;
    }

    private static void Encode(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, out IQ4_XS block)
    {
        Span<float> scales = stackalloc float[8], weights = stackalloc float[32];
        float variance = Rounding.SumOfSquares(values) * (2f / 256);
        for (int group = 0; group < 8; group++)
        {
            ReadOnlySpan<float> x = values.Slice(group * 32, 32);
            if (importance.IsEmpty) Rounding.Squares(x, weights);
            else Rounding.Weights(x, importance.Slice(group * 32, 32), variance, weights);
            scales[group] = TableSearch.Scale(x, weights);
        }

        // The scale of largest magnitude gets the code -32; values are rounded by the unrounded d.
        float d = -Rounding.Extreme(scales) / 32, inverse = d == 0 ? 0 : 1 / d;
        Span<byte> codes = stackalloc byte[32];
        block = default;
        block.D = HalfConversion.ToHalf(d);
        for (int group = 0; group < 8; group++)
        {
            int scale = Rounding.Nearest(inverse * scales[group], -32, 31);
            float groupScale = d * scale, groupInverse = groupScale == 0 ? 0 : 1 / groupScale;
            for (int i = 0; i < 32; i++)
                codes[i] = (byte)TableSearch.NearestIq4Nl(groupInverse * values[group * 32 + i]);
            SetScale(ref block, group, scale);
            CodePacking.Nibbles(codes, ((Span<byte>)block.Qs).Slice(group * 16, 16));
        }
    }

    private static void SetScale(ref IQ4_XS block, int group, int scale)
    {
        int code = scale + 32;
        block.ScalesL[group / 2] |= (byte)((code & 15) << group % 2 * 4);
        block.ScalesH |= (ushort)(code >> 4 << 2 * group);
    }

    /// <inheritdoc/>
    public static bool TryPack(in BlockParts parts, out IQ4_XS block)
    {
        block = default;
        block.D = parts.D;
        for (int group = 0; group < 8; group++)
        {
            SetScale(ref block, group, parts.Scales[group]);
            CodePacking.Nibbles(parts.Codes.Slice(group * 32, 32), ((Span<byte>)block.Qs).Slice(group * 16, 16));
        }
        return true;
    }
}
