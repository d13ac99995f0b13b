using System.Text;
using Nibble.Llm.Tokenizers.PreTokenizers;

namespace Nibble.Llm.Tokenizers;

/// <summary>
/// WordPiece as BERT uses it. Text is normalised (accents stripped, lower case), cut at white space, punctuation and Han characters, and
/// each word is cut into the longest tokens from its left; a word that cannot be is one unknown token. A token that starts a word is
/// spelled with U+2581 before it.
/// </summary>
internal sealed class WordPieceTokenizer(Vocabulary vocabulary, bool lowercase, bool stripAccents) : Tokenizer(vocabulary)
{
    private static readonly CodePointSet Han = new(
        "\u4E00-\u9FFF\u3400-\u4DBF\U00020000-\U0002A6DF\U0002A700-\U0002B73F\U0002B740-\U0002B81F\U0002B920-\U0002CEAF\uF900-\uFAFF\U0002F800-\U0002FA1F");

    /// <inheritdoc/>
    private protected override void EncodeText(ReadOnlySpan<byte> utf8, bool afterSpecial, List<int> ids)
    {
        List<byte> word = [];
        foreach (Rune rune in EnumerateRunes(utf8))
        {
            int c = stripAccents ? UnicodeTables.BaseOf(rune.Value) : rune.Value;
            CodePointClass kind = UnicodeTables.ClassOf(c);
            if ((kind & CodePointClass.Whitespace) != 0)
            {
                EncodeWord(word, ids);
                continue;
            }

            if (c is 0 or 0xFFFD || (kind & CodePointClass.Control) != 0 || (stripAccents && (kind & CodePointClass.Mark) != 0)) continue;
            bool isWord = (kind & CodePointClass.Punctuation) != 0 || (c < 0x7F && (kind & CodePointClass.Symbol) != 0) || Han.Contains(c);
            if (isWord) EncodeWord(word, ids);
            Append(word, lowercase ? UnicodeTables.ToLower(c) : c);
            if (isWord) EncodeWord(word, ids);
        }

        EncodeWord(word, ids);
    }

    private static List<Rune> EnumerateRunes(ReadOnlySpan<byte> utf8)
    {
        List<Rune> runes = new(utf8.Length);
        while (utf8.Length > 0)
        {
            Rune.DecodeFromUtf8(utf8, out Rune rune, out int size);
            runes.Add(rune);
            utf8 = utf8[size..];
        }

        return runes;
    }

    private static void Append(List<byte> word, int codePoint)
    {
        if (word.Count == 0) word.AddRange(SpaceEscape.Space);
        Span<byte> utf8 = stackalloc byte[4];
        word.AddRange(utf8[..new Rune(codePoint).EncodeToUtf8(utf8)]);
    }

    private void EncodeWord(List<byte> word, List<int> ids)
    {
        ReadOnlySpan<byte> rest = System.Runtime.InteropServices.CollectionsMarshal.AsSpan(word);
        int first = ids.Count;
        while (rest.Length > 0)
        {
            int token = Vocabulary.FindLongestPrefix(rest, out int length);
            if (token < 0)
            {
                ids.RemoveRange(first, ids.Count - first);
                if (Vocabulary.Special.Unknown is { } unknown) ids.Add(unknown);
                break;
            }

            ids.Add(token);
            rest = rest[length..];
        }

        word.Clear();
    }
}
