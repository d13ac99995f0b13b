namespace Nibble.Core.Formats;

/// <summary>Scales in one byte. Both are halved, since their formats multiply them by <see cref="Codebooks.E2M1Doubled"/>. Source: ggml-impl.h, llama.cpp v0.5.0.</summary>
public static class ByteScales
{
    /// <summary>Half of an E8M0 scale: 2^(e - 128), exact, subnormal for e = 0 and 1. As in ggml 255 is 2^127 and not NaN.</summary>
    public static float HalfE8M0(byte e) =>
        BitConverter.UInt32BitsToSingle(e < 2 ? 0x0020_0000u << e : (uint)(e - 1) << 23);

    /// <summary>
    /// Half of an unsigned E4M3 scale (bias 7): m / 8 * 2^-6 for exponent 0, (1 + m / 8) * 2^(exponent - 7) above. As in ggml bit 7 is
    /// ignored, except that 0x7F, the standard's NaN, is 0 and 0xFF is 480.
    /// </summary>
    public static float HalfUE4M3(byte code)
    {
        if (code == 0x7F) return 0;
        int exponent = code >> 3 & 15, mantissa = code & 7;
        return exponent == 0
            ? mantissa * (1f / 1024)
            : BitConverter.UInt32BitsToSingle((uint)(exponent - 8 + 127) << 23 | (uint)mantissa << 20);
    }
}
