using System.Runtime.InteropServices;

namespace Nibble.Core.Formats;

/// <summary>MXFP4: 32 values of E2M1 (OCP Microscaling Formats v1.0) with one power-of-two scale, in 17 bytes (4.25 bits per weight).</summary>
/// <remarks>Bytes: e E8M0 @0, qs[16] @1. Value i = 2^(e - 128) * F[q], q the nibble as in Q4_0, F = <see cref="Codebooks.E2M1Doubled"/>. ggml gives e = 255, the standard's NaN, the value 2^127, and so do we. Layout: <c>block_mxfp4</c> of ggml-common.h, llama.cpp v0.5.0.</remarks>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct MXFP4 : IBlock<MXFP4>
{
    /// <summary>e: the exponent of the scale.</summary>
    public byte E;

    /// <summary>Nibbles: value j low, value j + 16 high.</summary>
    public Bytes16 Qs;

    /// <inheritdoc/>
    public static int Values => 32;

    /// <inheritdoc/>
    public static void Decode(in MXFP4 block, Span<float> values)
    {
        float d = ByteScales.HalfE8M0(block.E);
        ReadOnlySpan<byte> qs = block.Qs;
        ReadOnlySpan<sbyte> table = Codebooks.E2M1Doubled;
        for (int j = 0; j < 16; j++)
        {
            values[j] = d * table[qs[j] & 15];
            values[j + 16] = d * table[qs[j] >> 4];
        }
    }

    /// <summary>Encodes one block: e so that the largest magnitude lies in 4 to 8 of its units (6 is the most that E2M1 has), then the nearest of the 16 levels.</summary>
    /// <param name="values">[32] float32.</param>
    /// <param name="block">The block, overwritten.</param>
    public static void Encode(ReadOnlySpan<float> values, out MXFP4 block)
    {
        float largest = MathF.Abs(Rounding.Extreme(values));
        block = default;

        // The logarithm is rounded to float32 as ggml's log2f is: just below a power of two it counts as that power.
        block.E = largest > 0 ? (byte)Math.Clamp((int)MathF.Floor((float)Math.Log2(largest)) - 2 + 127, 0, 254) : (byte)0;
        float d = ByteScales.HalfE8M0(block.E);
        Span<byte> codes = stackalloc byte[32];
        for (int i = 0; i < 32; i++)
            codes[i] = (byte)TableSearch.NearestE2M1(values[i], d);
        CodePacking.Nibbles(codes, block.Qs);
    }

    /// <inheritdoc/>
    public static bool TrySearch(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, out MXFP4 block)
    {
        // The usual exponent, and its neighbours: a larger one cuts off nothing, a smaller one has finer steps.
        Encode(values, out block);
        Span<byte> codes = stackalloc byte[32], best = stackalloc byte[32];
        double least = double.PositiveInfinity;
        for (int e = Math.Max(0, block.E - 2), last = Math.Min(254, block.E + 1); e <= last; e++)
        {
            double error = TableSearch.RoundE2M1(values, weights, ByteScales.HalfE8M0((byte)e), codes);
            if (!(error < least)) continue;
            (least, block.E) = (error, (byte)e);
            codes.CopyTo(best);
        }

        CodePacking.Nibbles(best, block.Qs);
        return true;
    }
}
