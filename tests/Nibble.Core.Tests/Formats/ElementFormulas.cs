namespace Nibble.Core.Tests.Formats;

/// <summary>
/// The block formats a second time, one value at a time and straight from the bytes, independent of the structs: what value i of a block
/// is. Formulas from ggml-common.h and ggml-quants.c, llama.cpp v0.5.0; multiplications from left to right, in float32.
/// </summary>
internal static class ElementFormulas
{
    /// <summary>Value i of the block b.</summary>
    public delegate float Formula(ReadOnlySpan<byte> b, int i);

    private static readonly int[] s_nonLinear = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
    private static readonly int[] s_e2m1Doubled = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

    /// <summary>Per format: its formula and where its f16 scales lie.</summary>
    public static IReadOnlyDictionary<string, (Formula Value, int[] HalfOffsets)> All { get; } = new Dictionary<string, (Formula, int[])>
    {
        ["F32"] = ((b, i) => BitConverter.ToSingle(b), []),
        ["F16"] = ((b, i) => Half(b, 0), [0]),
        ["BF16"] = ((b, i) => BitConverter.Int32BitsToSingle(b[1] << 24 | b[0] << 16), []),
        ["Q4_0"] = ((b, i) => Half(b, 0) * (Nibble(b[2 + i % 16], i < 16) - 8), [0]),
        ["Q4_1"] = ((b, i) => Half(b, 0) * Nibble(b[4 + i % 16], i < 16) + Half(b, 2), [0, 2]),
        ["Q5_0"] = ((b, i) => Half(b, 0) * (Nibble(b[6 + i % 16], i < 16) + 16 * Bit(b[2 + i / 8], i % 8) - 16), [0]),
        ["Q5_1"] = ((b, i) => Half(b, 0) * (Nibble(b[8 + i % 16], i < 16) + 16 * Bit(b[4 + i / 8], i % 8)) + Half(b, 2), [0, 2]),
        ["Q8_0"] = ((b, i) => Half(b, 0) * (sbyte)b[2 + i], [0]),
        ["Q2_K"] = ((b, i) => Half(b, 80) * (b[i / 16] & 15) * TwoBits(b[16..], i) - Half(b, 82) * (b[i / 16] >> 4), [80, 82]),
        ["Q3_K"] = (Q3_K, [108]),
        ["Q4_K"] = (Q4_K, [0, 2]),
        ["Q5_K"] = (Q5_K, [0, 2]),
        ["Q6_K"] = (Q6_K, [208]),
        ["IQ4_NL"] = ((b, i) => Half(b, 0) * s_nonLinear[Nibble(b[2 + i % 16], i < 16)], [0]),
        ["IQ4_XS"] = (IQ4_XS, [0]),
        ["MXFP4"] = ((b, i) => (float)Math.ScaleB(1, b[0] - 128) * s_e2m1Doubled[Nibble(b[1 + i % 16], i < 16)], []),
        ["NVFP4"] = ((b, i) => UE4M3(b[i / 16]) / 2 * s_e2m1Doubled[Nibble(b[4 + i / 16 * 8 + i % 8], i % 16 < 8)], []),
        ["TQ1_0"] = (TQ1_0, [52]),
        ["TQ2_0"] = ((b, i) => Half(b, 64) * (TwoBits(b, i) - 1), [64]),
    };

    /// <summary>A binary16 in two bytes; any NaN stays one.</summary>
    public static float Half(ReadOnlySpan<byte> b, int offset) => Half(b[offset] | b[offset + 1] << 8);

    /// <summary>A binary16 by its definition: (-1)^s 2^(e - 15) (1 + m / 1024), and m 2^-24 for e = 0.</summary>
    public static float Half(int code)
    {
        int e = code >> 10 & 31, m = code & 1023;
        double magnitude = e == 31 ? (m == 0 ? double.PositiveInfinity : double.NaN) : e == 0 ? Math.ScaleB(m, -24) : Math.ScaleB(1024 + m, e - 25);
        return (float)(code >> 15 == 0 ? magnitude : -magnitude);
    }

    private static int Nibble(byte b, bool low) => low ? b % 16 : b / 16;

    private static int Bit(byte b, int n) => b >> n & 1;

    private static int TwoBits(ReadOnlySpan<byte> qs, int i) => qs[32 * (i / 128) + i % 32] >> 2 * (i % 128 / 32) & 3;

    private static float Q3_K(ReadOnlySpan<byte> b, int i)
    {
        int q = TwoBits(b[32..], i) + 4 * Bit(b[i % 32], i / 32) - 4;
        ReadOnlySpan<byte> s = b.Slice(96, 12);
        int group = i / 16;
        int scale = Nibble(s[group % 8], group < 8) + 16 * (s[8 + group % 4] >> 2 * (group / 4) & 3) - 32;
        return Half(b, 108) * scale * q;
    }

    private static (int Scale, int Min) SixBits(ReadOnlySpan<byte> s, int group)
    {
        if (group < 4) return (s[group] % 64, s[group + 4] % 64);
        return (s[group + 4] % 16 + 16 * (s[group - 4] / 64), s[group + 4] / 16 + 16 * (s[group] / 64));
    }

    private static float Q4_K(ReadOnlySpan<byte> b, int i)
    {
        (int scale, int min) = SixBits(b.Slice(4, 12), i / 32);
        return Half(b, 0) * scale * Nibble(b[16 + 32 * (i / 64) + i % 32], i % 64 < 32) - Half(b, 2) * min;
    }

    private static float Q5_K(ReadOnlySpan<byte> b, int i)
    {
        (int scale, int min) = SixBits(b.Slice(4, 12), i / 32);
        int q = Nibble(b[48 + 32 * (i / 64) + i % 32], i % 64 < 32) + 16 * Bit(b[16 + i % 32], i / 32);
        return Half(b, 0) * scale * q - Half(b, 2) * min;
    }

    private static float Q6_K(ReadOnlySpan<byte> b, int i)
    {
        int n = i / 128, k = i % 128 / 32, l = i % 32;
        int q = Nibble(b[64 * n + 32 * (k % 2) + l], k < 2) + 16 * (b[128 + 32 * n + l] >> 2 * k & 3) - 32;
        return Half(b, 208) * (sbyte)b[192 + i / 16] * q;
    }

    private static float IQ4_XS(ReadOnlySpan<byte> b, int i)
    {
        int group = i / 32;
        int scale = Nibble(b[4 + group / 2], group % 2 == 0) + 16 * ((b[2] | b[3] << 8) >> 2 * group & 3) - 32;
        return Half(b, 0) * scale * s_nonLinear[Nibble(b[8 + 16 * group + i % 16], i % 32 < 16)];
    }

    private static float TQ1_0(ReadOnlySpan<byte> b, int i)
    {
        (byte packed, int digit) = i switch
        {
            < 160 => (b[i % 32], i / 32),
            < 240 => (b[32 + i % 16], (i - 160) / 16),
            _ => (b[48 + i % 4], (i - 240) / 4),
        };
        // The byte is a fraction of 256 in base 3: each step takes the integer part off the front.
        int fraction = packed, trit = 0;
        for (int n = 0; n <= digit; n++)
        {
            trit = fraction * 3 / 256;
            fraction = fraction * 3 % 256;
        }

        return Half(b, 52) * (trit - 1);
    }

    /// <summary>Unsigned E4M3 as ggml reads it: bit 7 ignored, 0x7F is 0.</summary>
    private static float UE4M3(int code)
    {
        int e = code >> 3 & 15, m = code & 7;
        return code == 0x7F ? 0 : (float)(e == 0 ? Math.ScaleB(m, -9) : Math.ScaleB(8 + m, e - 10));
    }
}
