using System.Text;

namespace Nibble.Llm.Tests.Tokenizers;

/// <summary>Texts that provoke tokenizers: all planes of Unicode, runs, line breaks, contractions, marks. From a printed seed.</summary>
public static class RandomText
{
    private static readonly string[] Parts =
    [
        " ", "  ", "\n", "\r\n", "\t", "a", "The", " the", "Ab", "ABC", "é", "e\u0301", "'s", "'LL", "'", "1", "12345", "٣", "½", "中", "漢字", "カナ", "한국", "ह\u093F", "ไทย",
        "\U0001F600", "\U0001D54F", "\U00010400", "\u00A0", "\u3000", "\u200B", "\uFEFF", "\u0000", "\u0001", "\u0085", "\u2028", "\uFFFD", ".", "...", "!?", "<|", "|>", "<0x0A>", "/", "_", "▁", "Ġ", "$",
    ];

    /// <summary>A text.</summary>
    /// <param name="random">The source.</param>
    /// <param name="parts">The most parts.</param>
    public static string Next(Random random, int parts = 30)
    {
        StringBuilder text = new();
        for (int i = random.Next(parts + 1); i > 0; i--)
        {
            if (random.Next(4) != 0)
            {
                text.Append(Parts[random.Next(Parts.Length)]);
                continue;
            }

            int c = random.Next(0x110000 - 0x800);
            text.Append(new Rune(c >= 0xD800 ? c + 0x800 : c).ToString());
        }

        return text.ToString();
    }
}
