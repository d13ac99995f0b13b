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

    /// <summary>The unsigned E4M3 code of a scale: nearest, halves up, but no subnormal becomes a normal one; 0x7E, which is 448, from 256 on, since ggml's encoder leaves out the other codes of the largest exponent.</summary>
    /// <param name="scale">float32; below 2^-10, and NaN, give 0.</param>
    public static byte ToUE4M3(float scale)
    {
        if (!(scale > 0)) return 0;
        if (scale < 1f / 64) return (byte)Math.Min((int)(scale * 512 + 0.5f), 7);
        uint code = (BitConverter.SingleToUInt32Bits(MathF.Min(scale, 448)) + (1u << 19) >> 20) - ((127 - 7) << 3);
        return code < 15 << 3 ? (byte)code : (byte)0x7E;
    }
}
