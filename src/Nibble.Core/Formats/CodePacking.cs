namespace Nibble.Core.Formats;

/// <summary>Puts codes into the bytes of blocks; the formats' decoders take them out again.</summary>
internal static class CodePacking
{
    /// <summary>32 codes of 4 bits or more into 16 bytes: code j into the low nibble of byte j, code j + 16 into the high one. Bits above the fourth are left out.</summary>
    public static void Nibbles(ReadOnlySpan<byte> codes, Span<byte> bytes)
    {
        for (int j = 0; j < 16; j++)
            bytes[j] = (byte)(codes[j] & 15 | codes[j + 16] << 4);
    }

    /// <summary>The fifth bit of each of 32 codes.</summary>
    public static uint FifthBits(ReadOnlySpan<byte> codes)
    {
        uint bits = 0;
        for (int i = 0; i < 32; i++)
            bits |= (uint)(codes[i] >> 4 & 1) << i;
        return bits;
    }

    /// <summary>256 codes into 64 bytes by their low two bits: byte l of a half takes codes l, l + 32, l + 64 and l + 96 of its 128.</summary>
    public static void Pairs(ReadOnlySpan<byte> codes, Span<byte> bytes)
    {
        for (int half = 0; half < 2; half++)
        {
            ReadOnlySpan<byte> q = codes.Slice(128 * half, 128);
            for (int l = 0; l < 32; l++)
                bytes[32 * half + l] = (byte)(q[l] & 3 | (q[l + 32] & 3) << 2 | (q[l + 64] & 3) << 4 | q[l + 96] << 6);
        }
    }

    /// <summary>256 codes into 128 bytes by their low nibbles: byte l of each 32 takes codes l (low) and l + 32 (high) of its 64.</summary>
    public static void NibblesOf64(ReadOnlySpan<byte> codes, Span<byte> bytes)
    {
        for (int i = 0; i < 128; i++)
        {
            int first = i / 32 * 64 + i % 32;
            bytes[i] = (byte)(codes[first] & 15 | codes[first + 32] << 4);
        }
    }

    /// <summary>One bit of each of 256 codes into 32 bytes: bit i / 32 of byte i % 32.</summary>
    /// <param name="codes">[256] codes.</param>
    /// <param name="bit">Which bit of a code.</param>
    /// <param name="bytes">[32] overwritten.</param>
    public static void Bits(ReadOnlySpan<byte> codes, int bit, Span<byte> bytes)
    {
        bytes.Clear();
        for (int i = 0; i < 256; i++)
            bytes[i % 32] |= (byte)((codes[i] >> bit & 1) << i / 32);
    }
}
