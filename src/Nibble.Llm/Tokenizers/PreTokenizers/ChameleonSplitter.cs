namespace Nibble.Llm.Tokenizers.PreTokenizers;

/// <summary>Isolates what the Chameleon models treat as one word before anything else.</summary>
internal sealed class ChameleonSplitter(ChameleonSplitter.Part part) : MatchSplitter
{
    /// <summary>The three kinds, one step each.</summary>
    internal enum Part
    {
        /// <summary><c>&lt;sentinel:[0-9]+></c>.</summary>
        Sentinel,

        /// <summary><c>IMGIMG[A-I]{1,4}Z</c>.</summary>
        Image,

        /// <summary><c>[\t\n]</c>, four spaces or two spaces.</summary>
        Indentation,
    }

    /// <inheritdoc/>
    protected override int Match(ref PieceReader piece, int start)
    {
        switch (part)
        {
            case Part.Sentinel:
            {
                int digits = SkipText(ref piece, start, "<sentinel:");
                int end = digits;
                while (digits > 0 && piece.CodePoint(end) is >= '0' and <= '9') end++;
                return end > digits && piece.CodePoint(end) == '>' ? end + 1 : -1;
            }

            case Part.Image:
            {
                int letters = SkipText(ref piece, start, "IMGIMG");
                int end = letters;
                while (letters > 0 && end < letters + 4 && piece.CodePoint(end) is >= 'A' and <= 'I') end++;
                return end > letters && piece.CodePoint(end) == 'Z' ? end + 1 : -1;
            }

            default:
            {
                if (piece.CodePoint(start) is '\t' or '\n') return start + 1;
                int end = SkipText(ref piece, start, "    ");
                return end > 0 ? end : SkipText(ref piece, start, "  ");
            }
        }
    }

    private static int SkipText(ref PieceReader piece, int start, string text)
    {
        for (int i = 0; i < text.Length; i++)
            if (piece.CodePoint(start + i) != text[i]) return -1;
        return start + text.Length;
    }
}
