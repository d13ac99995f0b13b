using System.Runtime.InteropServices;

namespace Nibble.Core.Formats;

/// <summary>Q5_0: 32 values of 5 bits with one scale, in 22 bytes (5.5 bits per weight).</summary>
/// <remarks>Bytes: d f16 @0, qh u32 @2, qs[16] @6. Value i = d * (q - 16), q the nibble as in Q4_0 with bit i of qh as its fifth bit. Layout: <c>block_q5_0</c> of ggml-common.h, llama.cpp v0.5.0.</remarks>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct Q5_0 : IBlock<Q5_0>
{
    /// <summary>d: the scale.</summary>
    public Half D;

    /// <summary>Bit i is the fifth bit of value i.</summary>
    public uint Qh;

    /// <summary>Low nibbles: value j low, value j + 16 high.</summary>
    public Bytes16 Qs;

    private static readonly BestScaleShape s_best = new(LevelSet.Even(-16, 15), 32, 1, 1, 1);

    /// <inheritdoc/>
    public static int Values => 32;

    /// <inheritdoc/>
    public static void Decode(in Q5_0 block, Span<float> values)
    {
        float d = (float)block.D;
        uint qh = block.Qh;
        ReadOnlySpan<byte> qs = block.Qs;
        for (int j = 0; j < 16; j++)
        {
            int high0 = (int)(qh >> j & 1) << 4, high1 = (int)(qh >> (j + 16) & 1) << 4;
            values[j] = d * ((qs[j] & 15 | high0) - 16);
            values[j + 16] = d * ((qs[j] >> 4 | high1) - 16);
        }
    }

    /// <summary>Encodes one block: d = the value of largest magnitude / -16, so that it is met, stored as f16; q = value * (1 / d) + 16 with the unrounded d, halves up, 31 at most.</summary>
    /// <param name="values">[32] float32.</param>
    /// <param name="block">The block, overwritten.</param>
    public static void Encode(ReadOnlySpan<float> values, out Q5_0 block)
    {
        float d = Rounding.Extreme(values) / -16, inverse = d == 0 ? 0 : 1 / d;
        Span<byte> codes = stackalloc byte[32];
        for (int i = 0; i < 32; i++)
            codes[i] = (byte)Rounding.HalfUp(values[i] * inverse, 16, 31);
        Pack(d, codes, out block);
    }

    /// <inheritdoc/>
    public static void EncodeWeighted(ReadOnlySpan<float> row, ReadOnlySpan<float> importance, Span<Q5_0> blocks)
    {
        float variance = Rounding.SumOfSquares(row) / row.Length;
        Span<float> weights = stackalloc float[32];
        Span<byte> codes = stackalloc byte[32];
        for (int b = 0; b < blocks.Length; b++)
        {
            ReadOnlySpan<float> x = row.Slice(b * 32, 32);
            Rounding.Weights(x, importance.Slice(b * 32, 32), variance, weights);
            float d = ScaleSearch.Signed(x, weights, 16, codes);
            Pack(d, codes, out blocks[b]);
        }
    }

    private static void Pack(float d, ReadOnlySpan<byte> codes, out Q5_0 block)
    {
        block = default;
        block.D = HalfConversion.ToHalf(d);
        block.Qh = CodePacking.FifthBits(codes);
        CodePacking.Nibbles(codes, block.Qs);
    }

    /// <inheritdoc/>
    public static bool TrySearch(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, out Q5_0 block)
    {
        Span<byte> codes = stackalloc byte[32], scales = stackalloc byte[1];
        block = default;
        block.D = BestScaleSearch.Encode(values, weights, s_best, codes, scales);
        block.Qh = CodePacking.FifthBits(codes);
        CodePacking.Nibbles(codes, block.Qs);
        return true;
    }

    /// <inheritdoc/>
    public static bool TryPack(in BlockParts parts, out Q5_0 block)
    {
        block = default;
        block.D = parts.D;
        block.Qh = CodePacking.FifthBits(parts.Codes);
        CodePacking.Nibbles(parts.Codes, block.Qs);
        return true;
    }
}
