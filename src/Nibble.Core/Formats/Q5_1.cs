using System.Runtime.InteropServices;

namespace Nibble.Core.Formats;

/// <summary>Q5_1: 32 values of 5 bits with a scale and a minimum, in 24 bytes (6 bits per weight).</summary>
/// <remarks>Bytes: d f16 @0, m f16 @2, qh u32 @4, qs[16] @8. Value i = d * q + m, q the nibble as in Q4_0 with bit i of qh as its fifth bit. Layout: <c>block_q5_1</c> of ggml-common.h, llama.cpp v0.5.0.</remarks>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct Q5_1 : IBlock<Q5_1>
{
    /// <summary>d: the scale.</summary>
    public Half D;

    /// <summary>m: the minimum.</summary>
    public Half M;

    /// <summary>Bit i is the fifth bit of value i.</summary>
    public uint Qh;

    /// <summary>Low nibbles: value j low, value j + 16 high.</summary>
    public Bytes16 Qs;

    private static readonly BestMinShape s_best = new(32, 1, 31, 1);

    /// <inheritdoc/>
    public static int Values => 32;

    /// <inheritdoc/>
    public static void Decode(in Q5_1 block, Span<float> values)
    {
        float d = (float)block.D, m = (float)block.M;
        uint qh = block.Qh;
        ReadOnlySpan<byte> qs = block.Qs;
        for (int j = 0; j < 16; j++)
        {
            int high0 = (int)(qh >> j & 1) << 4, high1 = (int)(qh >> (j + 16) & 1) << 4;
            values[j] = d * (qs[j] & 15 | high0) + m;
            values[j + 16] = d * (qs[j] >> 4 | high1) + m;
        }
    }

    /// <summary>Encodes one block: m = the smallest value, d = (largest - m) / 31, both stored as f16; q = (value - m) * (1 / d) with the unrounded m and d, halves up.</summary>
    /// <param name="values">[32] float32.</param>
    /// <param name="block">The block, overwritten.</param>
    public static void Encode(ReadOnlySpan<float> values, out Q5_1 block)
    {
        float min = values[0], max = values[0];
        foreach (float value in values)
        {
            min = MathF.Min(min, value);
            max = MathF.Max(max, value);
        }

        float d = (max - min) / 31, inverse = d == 0 ? 0 : 1 / d;
        Span<byte> codes = stackalloc byte[32];
        for (int i = 0; i < 32; i++)
            codes[i] = (byte)Rounding.HalfUp((values[i] - min) * inverse, 0, 31);
        Pack(d, min, codes, out block);
    }

    /// <inheritdoc/>
    public static void EncodeWeighted(ReadOnlySpan<float> row, ReadOnlySpan<float> importance, Span<Q5_1> blocks)
    {
        float variance = Rounding.SumOfSquares(row) / row.Length;
        Span<float> weights = stackalloc float[32];
        Span<byte> codes = stackalloc byte[32];
        for (int b = 0; b < blocks.Length; b++)
        {
            ReadOnlySpan<float> x = row.Slice(b * 32, 32);
            Rounding.Weights(x, importance.Slice(b * 32, 32), variance, weights);
            (float d, float min) = ScaleAndMinSearch.Find(x, weights, 31, ScaleAndMinSearch.WithImportance, isAbsolute: false, codes);
            Pack(d, -min, codes, out blocks[b]);
        }
    }

    private static void Pack(float d, float min, ReadOnlySpan<byte> codes, out Q5_1 block)
    {
        block = default;
        block.D = HalfConversion.ToHalf(d);
        block.M = HalfConversion.ToHalf(min);
        block.Qh = CodePacking.FifthBits(codes);
        CodePacking.Nibbles(codes, block.Qs);
    }

    /// <inheritdoc/>
    public static bool TrySearch(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, out Q5_1 block)
    {
        Span<byte> codes = stackalloc byte[32], scales = stackalloc byte[1], mins = stackalloc byte[1];
        block = default;
        (block.D, Half min) = BestMinSearch.Encode(values, weights, s_best, codes, scales, mins);
        block.M = -min;
        block.Qh = CodePacking.FifthBits(codes);
        CodePacking.Nibbles(codes, block.Qs);
        return true;
    }

    /// <inheritdoc/>
    public static bool TryPack(in BlockParts parts, out Q5_1 block)
    {
        block = default;
        (block.D, block.M) = (parts.D, -parts.Dmin);
        block.Qh = CodePacking.FifthBits(parts.Codes);
        CodePacking.Nibbles(parts.Codes, block.Qs);
        return true;
    }
}
