using System.Runtime.InteropServices;

namespace Nibble.Core.Formats;

/// <summary>IQ4_NL: 32 values of 4 bits from a fixed non-linear table with one scale, in 18 bytes (4.5 bits per weight).</summary>
/// <remarks>Bytes: d f16 @0, qs[16] @2. Value i = d * T[q], q the nibble as in Q4_0, T = <see cref="Codebooks.Iq4Nl"/>. Layout: <c>block_iq4_nl</c> of ggml-common.h, llama.cpp v0.5.0.</remarks>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct IQ4_NL : IBlock<IQ4_NL>
{
    /// <summary>d: the scale.</summary>
    public Half D;

    /// <summary>Nibbles: value j low, value j + 16 high.</summary>
    public Bytes16 Qs;

    private static readonly BestScaleShape s_best = new(LevelSet.Iq4Nl, 32, 1, 1, 1);

    /// <inheritdoc/>
    public static int Values => 32;

    /// <inheritdoc/>
    public static void Decode(in IQ4_NL block, Span<float> values)
    {
        float d = (float)block.D;
        ReadOnlySpan<byte> qs = block.Qs;
        ReadOnlySpan<sbyte> table = Codebooks.Iq4Nl;
        for (int j = 0; j < 16; j++)
        {
            values[j] = d * table[qs[j] & 15];
            values[j + 16] = d * table[qs[j] >> 4];
        }
    }

    /// <inheritdoc/>
    public static void Encode(ReadOnlySpan<float> values, out IQ4_NL block) => Encode(values, [], out block);

    /// <inheritdoc/>
    public static void EncodeWeighted(ReadOnlySpan<float> row, ReadOnlySpan<float> importance, Span<IQ4_NL> blocks)
    {
        for (int b = 0; b < blocks.Length; b++)
            Encode(row.Slice(b * 32, 32), importance.Slice(b * 32, 32), out blocks[b]);
    }

    private static void Encode(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, out IQ4_NL block)
    {
        Span<float> weights = stackalloc float[32];
        if (importance.IsEmpty) Rounding.Squares(values, weights);
        else Rounding.Weights(values, importance, Rounding.SumOfSquares(values) * (2f / 32), weights);
        float d = TableSearch.Scale(values, weights), inverse = d == 0 ? 0 : 1 / d;
        Span<byte> codes = stackalloc byte[32];
        for (int i = 0; i < 32; i++)
            codes[i] = (byte)TableSearch.NearestIq4Nl(inverse * values[i]);
        block = default;
        block.D = HalfConversion.ToHalf(d);
        CodePacking.Nibbles(codes, block.Qs);
    }

    /// <inheritdoc/>
    public static bool TrySearch(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, out IQ4_NL block)
    {
        Span<byte> codes = stackalloc byte[32], scales = stackalloc byte[1];
        block = default;
        block.D = BestScaleSearch.Encode(values, weights, s_best, codes, scales);
        CodePacking.Nibbles(codes, block.Qs);
        return true;
    }

    /// <inheritdoc/>
    public static bool TryPack(in BlockParts parts, out IQ4_NL block)
    {
        block = default;
        block.D = parts.D;
        CodePacking.Nibbles(parts.Codes, block.Qs);
        return true;
    }
}
