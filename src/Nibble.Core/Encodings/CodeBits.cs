namespace Nibble.Core.Encodings;

/// <summary>Codes of a few bits in bytes: code j has bits b j to b j + b - 1, counted from the lowest of the first byte.</summary>
public static class CodeBits
{
    /// <summary>Packs codes.</summary>
    /// <param name="codes">[n], each below 2^bits, n x bits a multiple of 8; higher bits are ignored.</param>
    /// <param name="bits">2, 3, 4 or 8.</param>
    /// <param name="packed">[n x bits / 8], overwritten.</param>
    /// <exception cref="ArgumentException">The lengths do not fit each other.</exception>
    public static void Pack(ReadOnlySpan<byte> codes, int bits, Span<byte> packed)
    {
        CheckLengths(codes.Length, bits, packed.Length);
        int mask = (1 << bits) - 1, at = 0, pending = 0, count = 0;
        foreach (byte code in codes)
        {
            pending |= (code & mask) << count;
            count += bits;
            if (count < 8) continue;
            packed[at++] = (byte)pending;
            pending >>= 8;
            count -= 8;
        }
    }

    /// <summary>Unpacks codes.</summary>
    /// <param name="packed">[n x bits / 8].</param>
    /// <param name="bits">2, 3, 4 or 8.</param>
    /// <param name="codes">[n], overwritten.</param>
    /// <exception cref="ArgumentException">The lengths do not fit each other.</exception>
    public static void Unpack(ReadOnlySpan<byte> packed, int bits, Span<byte> codes)
    {
        CheckLengths(codes.Length, bits, packed.Length);
        switch (bits)
        {
            case 8:
                packed.CopyTo(codes);
                return;
            case 4:
                for (int i = 0; i < packed.Length; i++)
                {
                    codes[2 * i] = (byte)(packed[i] & 15);
                    codes[(2 * i) + 1] = (byte)(packed[i] >> 4);
                }

                return;
            default:
                int mask = (1 << bits) - 1, at = 0, pending = 0, count = 0;
                for (int i = 0; i < codes.Length; i++)
                {
                    if (count < bits)
                    {
                        pending |= packed[at++] << count;
                        count += 8;
                    }

                    codes[i] = (byte)(pending & mask);
                    pending >>= bits;
                    count -= bits;
                }

                return;
        }
    }

    private static void CheckLengths(int codes, int bits, int bytes)
    {
        if (bits is not (2 or 3 or 4 or 8)) throw new ArgumentOutOfRangeException(nameof(bits), $"codes have {bits} bits; 2, 3, 4 and 8 are possible.");
        if ((long)codes * bits != 8L * bytes) throw new ArgumentException($"{codes} codes of {bits} bits do not fill {bytes} bytes.");
    }
}
