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

    private static readonly BestScaleShape s_best = new(LevelSet.Even(-8, 7), 32, 1, 1, 1);

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

    /// <summary>
    /// Encodes one block: d = the value of largest magnitude / -8, so that it is met, stored as f16; q = value * (1 / d) + 8 with the unrounded d, halves up, 15 at most.
    /// A block with a NaN or an infinity decodes to NaN or infinities.
    /// </summary>
    /// <param name="values">[32] float32.</param>
    /// <param name="block">The block, overwritten.</param>
    public static void Encode(ReadOnlySpan<float> values, out Q4_0 block)
    {
        float largest = 0, extreme = 0;
        for (int i = 0; i < 32; i++)
        {
            float magnitude = MathF.Abs(values[i]);
            if (magnitude <= largest || float.IsNaN(largest)) continue;
            (largest, extreme) = (magnitude, values[i]);
        }

        float d = extreme / -8, inverse = d == 0 ? 0 : 1 / d;
        block = default;
        block.D = HalfConversion.ToHalf(d);
        for (int j = 0; j < 16; j++)
            block.Qs[j] = (byte)(Code(values[j] * inverse) | (Code(values[j + 16] * inverse) << 4));
    }

    // d below 2^-128 has no finite inverse; its f16 is zero.
    private static int Code(float q) => float.IsFinite(q) ? Math.Min(15, (int)(q + 8.5f)) : 0;

    /// <inheritdoc/>
    public static void EncodeWeighted(ReadOnlySpan<float> row, ReadOnlySpan<float> importance, Span<Q4_0> blocks)
    {
        float variance = Rounding.SumOfSquares(row) / row.Length;
        Span<float> weights = stackalloc float[32];
        Span<byte> codes = stackalloc byte[32];
        for (int b = 0; b < blocks.Length; b++)
        {
            ReadOnlySpan<float> x = row.Slice(b * 32, 32);
            Rounding.Weights(x, importance.Slice(b * 32, 32), variance, weights);
            blocks[b].D = HalfConversion.ToHalf(ScaleSearch.Signed(x, weights, 8, codes));
            CodePacking.Nibbles(codes, blocks[b].Qs);
        }
    }

    /// <inheritdoc/>
    public static bool TrySearch(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, out Q4_0 block)
    {
        Span<byte> codes = stackalloc byte[32], scales = stackalloc byte[1];
        block = default;
        block.D = BestScaleSearch.Encode(values, weights, s_best, codes, scales);
        CodePacking.Nibbles(codes, block.Qs);
        return true;
    }

    /// <inheritdoc/>
    public static bool TryPack(in BlockParts parts, out Q4_0 block)
    {
        block = default;
        block.D = parts.D;
        CodePacking.Nibbles(parts.Codes, block.Qs);
        return true;
    }
}
