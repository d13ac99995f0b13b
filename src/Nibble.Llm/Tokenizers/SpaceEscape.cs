namespace Nibble.Llm.Tokenizers;

/// <summary>SentencePiece's spelling of a space: U+2581, three bytes in UTF-8.</summary>
internal static class SpaceEscape
{
    /// <summary>The spelling.</summary>
    public static ReadOnlySpan<byte> Space => "\u2581"u8;

    /// <summary>Spells the spaces of a text.</summary>
    /// <param name="text">UTF-8.</param>
    /// <param name="escaped">Gets the result; three times as long as <paramref name="text"/> is long enough.</param>
    /// <returns>The result's length.</returns>
    public static int Add(ReadOnlySpan<byte> text, Span<byte> escaped)
    {
        int length = 0;
        while (text.Length > 0)
        {
            int plain = text.IndexOf((byte)' ');
            if (plain < 0) plain = text.Length;
            text[..plain].CopyTo(escaped[length..]);
            length += plain;
            text = text[plain..];
            if (text.Length == 0) break;
            Space.CopyTo(escaped[length..]);
            length += Space.Length;
            text = text[1..];
        }

        return length;
    }

    /// <summary>Undoes the spelling of spaces.</summary>
    /// <param name="escaped">UTF-8.</param>
    /// <param name="text">Gets the result; as long as <paramref name="escaped"/> is long enough.</param>
    /// <returns>The result's length.</returns>
    public static int Remove(ReadOnlySpan<byte> escaped, Span<byte> text)
    {
        int length = 0;
        while (escaped.Length > 0)
        {
            int plain = escaped.IndexOf(Space);
            if (plain < 0) plain = escaped.Length;
            escaped[..plain].CopyTo(text[length..]);
            length += plain;
            escaped = escaped[plain..];
            if (escaped.Length == 0) break;
            text[length++] = (byte)' ';
            escaped = escaped[Space.Length..];
        }

        return length;
    }
}
