using System.Text;

namespace Nibble.Llm.Tokenizers.PreTokenizers;

/// <summary>Splits text into the words within which byte-pair encoding merges: a chain of steps, each cutting the pieces of the one before.</summary>
/// <param name="steps">The steps, in order.</param>
internal sealed class PreTokenizer(params Splitter[] steps)
{
    /// <summary>Splits a text.</summary>
    /// <param name="utf8">Valid UTF-8.</param>
    /// <param name="ends">Gets the offset in bytes of each word's end, ascending; the last is the text's length.</param>
    public void Split(ReadOnlySpan<byte> utf8, List<int> ends)
    {
        ends.Clear();
        if (utf8.Length == 0) return;
        using CodePointText text = new(utf8);
        List<int> pieces = [text.Length];
        List<int> cut = [];
        foreach (Splitter step in steps)
        {
            cut.Clear();
            int start = 0;
            foreach (int end in pieces)
            {
                step.Split(text, start, end, cut);
                start = end;
            }

            (pieces, cut) = (cut, pieces);
        }

        ReadOnlySpan<int> codePoints = text.CodePoints;
        int index = 0, offsetBytes = 0;
        foreach (int end in pieces)
        {
            for (; index < end; index++) offsetBytes += CodePointText.Utf8Length(codePoints[index]);
            ends.Add(offsetBytes);
        }
    }

    /// <summary>Splits a text into strings: the readable form, for tests and diagnosis.</summary>
    public IReadOnlyList<string> Split(string text)
    {
        byte[] utf8 = Encoding.UTF8.GetBytes(text);
        List<int> ends = [];
        Split(utf8, ends);
        List<string> words = [];
        int start = 0;
        foreach (int end in ends)
        {
            words.Add(Encoding.UTF8.GetString(utf8, start, end - start));
            start = end;
        }

        return words;
    }
}
