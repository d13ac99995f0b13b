using System.Runtime.InteropServices;

namespace Nibble.Core.Formats;

/// <summary>Q4_1: 32 values of 4 bits with a scale and a minimum, in 20 bytes (5 bits per weight).</summary>
/// <remarks>Bytes: d f16 @0, m f16 @2, qs[16] @4. Value i = d * q + m, q the low nibble of qs[i] for i &lt; 16 and the high nibble of qs[i - 16] above. Layout: <c>block_q4_1</c> of ggml-common.h, llama.cpp v0.5.0.</remarks>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct Q4_1 : IBlock<Q4_1>
{
    /// <summary>d: the scale.</summary>
    public Half D;

    /// <summary>m: the minimum.</summary>
    public Half M;

    /// <summary>Nibbles: value j low, value j + 16 high.</summary>
    public Bytes16 Qs;

    private static readonly BestMinShape s_best = new(32, 1, 15, 1);

    /// <inheritdoc/>
    public static int Values => 32;

    /// <inheritdoc/>
    public static void Decode(in Q4_1 block, Span<float> values)
    {
        float d = (float)block.D, m = (float)block.M;
        ReadOnlySpan<byte> qs = block.Qs;
        for (int j = 0; j < 16; j++)
        {
            values[j] = d * (qs[j] & 15) + m;
            values[j + 16] = d * (qs[j] >> 4) + m;
        }
    }

    /// <summary>Encodes one block: m = the smallest value, d = (largest - m) / 15, both stored as f16; q = (value - m) * (1 / d) with the unrounded m and d, halves up.</summary>
    /// <param name="values">[32] float32.</param>
    /// <param name="block">The block, overwritten.</param>
    public static void Encode(ReadOnlySpan<float> values, out Q4_1 block)
    {
        float min = values[0], max = values[0];
        foreach (float value in values)
        {
            min = MathF.Min(min, value);
            max = MathF.Max(max, value);
        }

        float d = (max - min) / 15, inverse = d == 0 ? 0 : 1 / d;
        Span<byte> codes = stackalloc byte[32];
        for (int i = 0; i < 32; i++)
            codes[i] = (byte)Rounding.HalfUp((values[i] - min) * inverse, 0, 15);
        Pack(d, min, codes, out block);
    }

    /// <inheritdoc/>
    public static void EncodeWeighted(ReadOnlySpan<float> row, ReadOnlySpan<float> importance, Span<Q4_1> blocks)
    {
        float variance = Rounding.SumOfSquares(row) / row.Length;
        Span<float> weights = stackalloc float[32];
        Span<byte> codes = stackalloc byte[32];
        for (int b = 0; b < blocks.Length; b++)
        {
            ReadOnlySpan<float> x = row.Slice(b * 32, 32);
            Rounding.Weights(x, importance.Slice(b * 32, 32), variance, weights);
            (float d, float min) = ScaleAndMinSearch.Find(x, weights, 15, ScaleAndMinSearch.WithImportance, isAbsolute: false, codes);
            Pack(d, -min, codes, out blocks[b]);
        }
    }

    private static void Pack(float d, float min, ReadOnlySpan<byte> codes, out Q4_1 block)
    {
        block = default;
        block.D = HalfConversion.ToHalf(d);
        block.M = HalfConversion.ToHalf(min);
        CodePacking.Nibbles(codes, block.Qs);
    }

    /// <inheritdoc/>
    public static bool TrySearch(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, out Q4_1 block)
    {
        Span<byte> codes = stackalloc byte[32], scales = stackalloc byte[1], mins = stackalloc byte[1];
        block = default;
        (block.D, Half min) = BestMinSearch.Encode(values, weights, s_best, codes, scales, mins);
        block.M = -min;
        CodePacking.Nibbles(codes, block.Qs);
        return true;
    }

    /// <inheritdoc/>
    public static bool TryPack(in BlockParts parts, out Q4_1 block)
    {
        block = default;
        (block.D, block.M) = (parts.D, -parts.Dmin);
        CodePacking.Nibbles(parts.Codes, block.Qs);
        return true;
    }
}
