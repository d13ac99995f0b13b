using System.Globalization;
using Nibble.Core.Gguf;

namespace Nibble.Llm.Models;

/// <summary>
/// The tokenizer of a <see cref="SyntheticModel"/> for benchmarks: a SentencePiece vocabulary of three control tokens, the 256 bytes, and pieces of one, two, three letters and so on, the
/// space among them. It encodes every text.
/// </summary>
internal static class SyntheticVocabulary
{
    /// <summary>Id of the first piece after control tokens and bytes.</summary>
    public const int FirstPiece = 3 + 256;

    // The space of SentencePiece, then what ASCII prints.
    private const char Space = '\u2581';
    private const string Letters = "etaoinshrdlucmfwypvbgkjqxz";

    /// <summary>Adds the tokenizer's keys.</summary>
    /// <param name="entries">Keys and values of the file.</param>
    /// <param name="count">Tokens, at least <see cref="FirstPiece"/>.</param>
    public static void AddTo(IDictionary<string, GgufValue> entries, int count)
    {
        string[] tokens = new string[count];
        int[] types = new int[count];
        float[] scores = new float[count];
        (tokens[0], types[0]) = ("<unk>", 2);
        (tokens[1], types[1]) = ("<s>", 3);
        (tokens[2], types[2]) = ("</s>", 3);
        for (int value = 0; value < 256; value++)
            (tokens[3 + value], types[3 + value]) = ($"<0x{value.ToString("X2", CultureInfo.InvariantCulture)}>", 6);
        int id = FirstPiece;
        foreach (string piece in Pieces().Take(count - FirstPiece))
        {
            // Longer pieces, which are seldom, are merged last.
            (tokens[id], types[id], scores[id]) = (piece, 1, FirstPiece - id);
            id++;
        }

        entries["tokenizer.ggml.model"] = "llama";
        entries["tokenizer.ggml.pre"] = "default";
        entries["tokenizer.ggml.tokens"] = GgufValue.Array(tokens);
        entries["tokenizer.ggml.scores"] = GgufValue.Array(scores);
        entries["tokenizer.ggml.token_type"] = GgufValue.Array(types);
        entries["tokenizer.ggml.bos_token_id"] = 1u;
        entries["tokenizer.ggml.eos_token_id"] = 2u;
        entries["tokenizer.ggml.unknown_token_id"] = 0u;
        entries["tokenizer.ggml.add_bos_token"] = true;
        entries["tokenizer.ggml.add_eos_token"] = false;
    }

    // Single characters first; then every word of two letters, with and without a space before it, then of three letters, and so on without end.
    private static IEnumerable<string> Pieces()
    {
        yield return Space.ToString();
        for (char character = '!'; character <= '~'; character++)
            yield return character.ToString();
        for (int length = 1; ; length++)
            foreach (string word in Words(length))
            {
                if (length > 1) yield return word;
                yield return Space + word;
            }
    }

    private static IEnumerable<string> Words(int length) =>
        length == 0 ? [string.Empty] : from start in Words(length - 1) from letter in Letters select start + letter;
}
