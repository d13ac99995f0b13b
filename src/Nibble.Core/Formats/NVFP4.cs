using System.Runtime.InteropServices;

namespace Nibble.Core.Formats;

/// <summary>NVFP4: 64 values of E2M1 in 4 groups of 16, each with an 8-bit float scale, in 36 bytes (4.5 bits per weight).</summary>
/// <remarks>Bytes: d UE4M3[4] @0, qs[32] @4. Value i = (ue4m3(d[g]) / 2) * F[q] with g = i / 16, q the nibble of qs[8 g + i % 8], low for i % 16 &lt; 8, F = <see cref="Codebooks.E2M1Doubled"/>. Layout: <c>block_nvfp4</c> of ggml-common.h, llama.cpp v0.5.0.</remarks>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct NVFP4 : IBlock<NVFP4>
{
    /// <summary>d: the scale of each group of 16.</summary>
    public Bytes4 D;

    /// <summary>Nibbles: byte j of each 8 holds value j (low) and j + 8 (high) of its 16.</summary>
    public Bytes32 Qs;

    /// <inheritdoc/>
    public static int Values => 64;

    /// <inheritdoc/>
    public static void Decode(in NVFP4 block, Span<float> values)
    {
        ReadOnlySpan<byte> scales = block.D, qs = block.Qs;
        ReadOnlySpan<sbyte> table = Codebooks.E2M1Doubled;
        for (int group = 0; group < 4; group++)
        {
            float d = ByteScales.HalfUE4M3(scales[group]);
            ReadOnlySpan<byte> q = qs.Slice(group * 8, 8);
            Span<float> y = values.Slice(group * 16, 16);
            for (int j = 0; j < 8; j++)
            {
                y[j] = d * table[q[j] & 15];
                y[j + 8] = d * table[q[j] >> 4];
            }
        }
    }

    /// <summary>Encodes one block: each group's scale gives its largest magnitude the level 6, then the nearest of the 16 levels.</summary>
    /// <param name="values">[64] float32.</param>
    /// <param name="block">The block, overwritten.</param>
    public static void Encode(ReadOnlySpan<float> values, out NVFP4 block)
    {
        block = default;
        for (int group = 0; group < 4; group++)
        {
            ReadOnlySpan<float> x = values.Slice(group * 16, 16);
            block.D[group] = ByteScales.ToUE4M3(MathF.Abs(Rounding.Extreme(x)) / 6);
            float d = ByteScales.HalfUE4M3(block.D[group]);
            for (int j = 0; j < 8; j++)
                block.Qs[group * 8 + j] = (byte)(TableSearch.NearestE2M1(x[j], d) | TableSearch.NearestE2M1(x[j + 8], d) << 4);
        }
    }

    /// <inheritdoc/>
    public static bool TrySearch(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, out NVFP4 block)
    {
        Encode(values, out block);
        Span<byte> codes = stackalloc byte[16], best = stackalloc byte[16];
        for (int group = 0; group < 4; group++)
        {
            ReadOnlySpan<float> x = values.Slice(group * 16, 16), w = weights.Slice(group * 16, 16);
            double least = double.PositiveInfinity;

            // Eight codes are a factor of two.
            for (int code = Math.Max(0, block.D[group] - 10), last = Math.Min(0x7E, block.D[group] + 10); code <= last; code++)
            {
                double error = TableSearch.RoundE2M1(x, w, ByteScales.HalfUE4M3((byte)code), codes);
                if (!(error < least)) continue;
                (least, block.D[group]) = (error, (byte)code);
                codes.CopyTo(best);
            }

            for (int j = 0; j < 8; j++) block.Qs[group * 8 + j] = (byte)(best[j] | best[j + 8] << 4);
        }

        return true;
    }
}
