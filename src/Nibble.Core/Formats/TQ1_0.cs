using System.Runtime.InteropServices;

namespace Nibble.Core.Formats;

/// <summary>TQ1_0: 256 values of -1, 0 and 1 with one scale, five to a byte, in 54 bytes (1.6875 bits per weight).</summary>
/// <remarks>Bytes: qs[48] @0, qh[4] @48, d f16 @52. A byte b is the fraction 0.t0 t1 t2 t3 t4 in base 3, b / 256 rounded up, so digit n = (b * 3^n mod 256) * 3 / 256. Value = d * (digit - 1). Values 0 to 159: digit i / 32 of qs[i % 32]; 160 to 239: digit (i - 160) / 16 of qs[32 + i % 16]; 240 to 255: digit (i - 240) / 4 of qh[i % 4]. Layout: <c>block_tq1_0</c> of ggml-common.h, llama.cpp v0.5.0.</remarks>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct TQ1_0 : IBlock<TQ1_0>
{
    /// <summary>Five digits to a byte.</summary>
    public Bytes48 Qs;

    /// <summary>Four digits to a byte.</summary>
    public Bytes4 Qh;

    /// <summary>d: the scale.</summary>
    public Half D;

    /// <inheritdoc/>
    public static int Values => 256;

    /// <inheritdoc/>
    public static void Decode(in TQ1_0 block, Span<float> values)
    {
        float d = (float)block.D;
        ReadOnlySpan<byte> qs = block.Qs;
        Digits(qs[..32], 5, d, values[..160]);
        Digits(qs[32..], 5, d, values[160..240]);
        Digits(block.Qh, 4, d, values[240..]);
    }

    // values[n * bytes.Length + m] comes from digit n of byte m.
    private static void Digits(ReadOnlySpan<byte> bytes, int digits, float d, Span<float> values)
    {
        int power = 1;
        for (int n = 0; n < digits; n++, power *= 3)
            for (int m = 0; m < bytes.Length; m++)
                values[n * bytes.Length + m] = d * ((((bytes[m] * power & 255) * 3) >> 8) - 1);
    }

    /// <summary>Encodes one block: d = the largest magnitude, stored as f16; digit = value * (1 / d) + 1 with the unrounded d, halves away from zero.</summary>
    /// <param name="values">[256] float32.</param>
    /// <param name="block">The block, overwritten.</param>
    public static void Encode(ReadOnlySpan<float> values, out TQ1_0 block)
    {
        Span<byte> codes = stackalloc byte[256];
        block = default;
        block.D = HalfConversion.ToHalf(TQ2_0.Digits(values, codes));
        Pack(codes, ref block);
    }

    // The inverse of Digits: the fraction of five base 3 digits (a missing fifth is 0) in units of 1 / 256, rounded up.
    private static void PackDigits(ReadOnlySpan<byte> codes, int digits, Span<byte> bytes)
    {
        for (int m = 0; m < bytes.Length; m++)
        {
            int number = 0;
            for (int n = 0; n < 5; n++)
                number = number * 3 + (n < digits ? codes[n * bytes.Length + m] : 0);
            bytes[m] = (byte)((number * 256 + 242) / 243);
        }
    }

    /// <inheritdoc/>
    public static bool TrySearch(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, out TQ1_0 block)
    {
        Span<byte> codes = stackalloc byte[256];
        block = default;
        block.D = TQ2_0.BestDigits(values, weights, codes);
        Pack(codes, ref block);
        return true;
    }

    private static void Pack(ReadOnlySpan<byte> codes, ref TQ1_0 block)
    {
        Span<byte> qs = block.Qs;
        PackDigits(codes[..160], 5, qs[..32]);
        PackDigits(codes[160..240], 5, qs[32..]);
        PackDigits(codes[240..], 4, block.Qh);
    }
}
