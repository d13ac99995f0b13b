using System.Text;

namespace Nibble.Llm.Tokenizers;

/// <summary>GPT-2's spelling of bytes as printable characters: those of Latin-1 stand for themselves, the other 68 bytes for U+0100 and up in order.</summary>
internal static class ByteLevelAlphabet
{
    private static readonly char[] CharOfByte = BuildChars();
    private static readonly short[] ByteOfChar = BuildBytes(); // -1 where a character spells no byte

    /// <summary>The character of a byte.</summary>
    public static char Spell(byte value) => CharOfByte[value];

    /// <summary>The UTF-8 spelling of bytes.</summary>
    /// <param name="bytes">The bytes.</param>
    /// <param name="spelling">Gets the spelling; twice as long as <paramref name="bytes"/> is long enough.</param>
    /// <returns>The spelling's length.</returns>
    public static int Spell(ReadOnlySpan<byte> bytes, Span<byte> spelling)
    {
        int length = 0;
        foreach (byte value in bytes)
        {
            char c = CharOfByte[value];
            if (c < 0x80)
            {
                spelling[length++] = (byte)c;
                continue;
            }

            spelling[length++] = (byte)(0xC0 | c >> 6);
            spelling[length++] = (byte)(0x80 | c & 0x3F);
        }

        return length;
    }

    /// <summary>The bytes that a piece spells. A character that spells none stands for its own UTF-8 bytes.</summary>
    /// <param name="piece">A piece of a vocabulary.</param>
    /// <param name="bytes">Gets the bytes; as long as <paramref name="piece"/> is long enough.</param>
    /// <returns>The number of bytes.</returns>
    public static int Read(ReadOnlySpan<byte> piece, Span<byte> bytes)
    {
        int length = 0;
        while (piece.Length > 0)
        {
            Rune.DecodeFromUtf8(piece, out Rune rune, out int size);
            if (rune.Value < ByteOfChar.Length && ByteOfChar[rune.Value] >= 0)
            {
                bytes[length++] = (byte)ByteOfChar[rune.Value];
            }
            else
            {
                piece[..size].CopyTo(bytes[length..]);
                length += size;
            }

            piece = piece[size..];
        }

        return length;
    }

    private static char[] BuildChars()
    {
        char[] chars = new char[256];
        char next = '\u0100';
        for (int value = 0; value < 256; value++)
            chars[value] = value is (>= 0x21 and <= 0x7E) or (>= 0xA1 and <= 0xAC) or >= 0xAE ? (char)value : next++;
        return chars;
    }

    private static short[] BuildBytes()
    {
        short[] bytes = new short[CharOfByte.Max() + 1];
        Array.Fill(bytes, (short)-1);
        for (int value = 0; value < 256; value++) bytes[CharOfByte[value]] = (short)value;
        return bytes;
    }
}
