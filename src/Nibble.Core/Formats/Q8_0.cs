using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Nibble.Core.Formats;

/// <summary>Q8_0: 32 values of 8 bits with one scale, in 34 bytes (8.5 bits per weight).</summary>
/// <remarks>Bytes: d f16 @0, qs i8[32] @2. Value i = d * qs[i]. Layout: <c>block_q8_0</c> of ggml-common.h, llama.cpp v0.5.0.</remarks>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct Q8_0 : IBlock<Q8_0>
{
    /// <summary>d: the scale.</summary>
    public Half D;

    /// <summary>The quantized values, -127 to 127 from the encoder.</summary>
    public SBytes32 Qs;

    private static readonly BestScaleShape s_best = new(LevelSet.Even(-127, 127), 32, 1, 1, 1);

    /// <inheritdoc/>
    public static int Values => 32;

    /// <inheritdoc/>
    public static void Decode(in Q8_0 block, Span<float> values)
    {
        float d = (float)block.D;
        ReadOnlySpan<sbyte> qs = block.Qs;
        for (int i = 0; i < 32; i++)
            values[i] = d * qs[i];
    }

    /// <inheritdoc/>
    public static void DecodeRow(ReadOnlySpan<Q8_0> blocks, Span<float> values)
    {
        for (int b = 0; b < blocks.Length; b++)
        {
            Vector256<float> d = Vector256.Create((float)blocks[b].D);
            ReadOnlySpan<sbyte> qs = blocks[b].Qs;
            Span<float> y = values.Slice(b * 32, 32);
            (Vector256<short> low, Vector256<short> high) = Vector256.Widen(Vector256.Create(qs));
            (Vector256<int> q0, Vector256<int> q1) = Vector256.Widen(low);
            (Vector256<int> q2, Vector256<int> q3) = Vector256.Widen(high);
            (d * Vector256.ConvertToSingle(q0)).CopyTo(y);
            (d * Vector256.ConvertToSingle(q1)).CopyTo(y[8..]);
            (d * Vector256.ConvertToSingle(q2)).CopyTo(y[16..]);
            (d * Vector256.ConvertToSingle(q3)).CopyTo(y[24..]);
        }
    }

    /// <summary>
    /// Encodes one block: d = largest magnitude / 127, stored as f16; qs = value * (1 / d) with the unrounded d, halves away from zero.
    /// A block with a NaN or an infinity decodes to NaN, so that neither is lost.
    /// </summary>
    /// <param name="values">[32] float32.</param>
    /// <param name="block">The block, overwritten.</param>
    public static void Encode(ReadOnlySpan<float> values, out Q8_0 block)
    {
        float largest = 0;
        for (int i = 0; i < 32; i++)
            largest = MathF.Max(largest, MathF.Abs(values[i]));
        float d = largest / 127;
        float inverse = d == 0 ? 0 : 1 / d;
        block = default;
        block.D = HalfConversion.ToHalf(d);
        for (int i = 0; i < 32; i++)
        {
            // d below 2^-128 has no finite inverse; its f16 is zero, and so are the quants.
            float q = values[i] * inverse;
            block.Qs[i] = float.IsFinite(q) ? (sbyte)MathF.Round(q, MidpointRounding.AwayFromZero) : (sbyte)0;
        }
    }

    /// <inheritdoc/>
    public static bool TrySearch(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, out Q8_0 block)
    {
        Span<byte> codes = stackalloc byte[32], scales = stackalloc byte[1];
        block = default;
        block.D = BestScaleSearch.Encode(values, weights, s_best, codes, scales);
        for (int i = 0; i < 32; i++)
            block.Qs[i] = (sbyte)(codes[i] - 127);
        return true;
    }

    /// <inheritdoc/>
    public static bool TryPack(in BlockParts parts, out Q8_0 block)
    {
        block = default;
        block.D = parts.D;
        for (int i = 0; i < 32; i++)
            block.Qs[i] = (sbyte)(parts.Codes[i] - 127);
        return true;
    }
}
