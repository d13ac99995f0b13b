using System.Text;
using Nibble.Llm.Tokenizers;

namespace Nibble.Llm.Tests.Tokenizers;

public class SpecialTokenMatcherTests(ITestOutputHelper output)
{
    private const int Seed = 99;

    [Fact]
    public void Partition_equals_searching_each_token_longest_first_for_random_vocabularies()
    {
        output.WriteLine($"seed {Seed}");
        Random random = new(Seed);
        for (int round = 0; round < 3000; round++)
        {
            List<string> pieces = ["z"];
            int count = random.Next(1, 8);
            for (int i = 0; i < count; i++) pieces.Add(Word(random, random.Next(1, 6)));

            // Tokens of one length may overlap each other, and then their order is not defined.
            pieces = [.. pieces.Distinct().GroupBy(p => p.Length).Select(g => g.First())];
            int[] types = [.. pieces.Select(_ => random.Next(3, 5))];
            Vocabulary vocabulary = new(new VocabularySource { Model = "llama", Pieces = PieceTable.From(pieces), Types = types, ModelName = random.Next(2) == 0 ? "Phi-3" : "x" });
            string text = Word(random, random.Next(1, 25));
            bool parse = random.Next(2) == 0;
            LiteralRanges literals = new();
            if (parse) literals.Add(0, text.Length);
            List<TextFragment> fragments = [];
            new SpecialTokenMatcher(vocabulary).Split(Encoding.UTF8.GetBytes(text), literals, fragments);
            string expected = Show(Reference(text, vocabulary, parse), text), actual = Show(fragments, text);
            Assert.True(expected == actual, $"'{text}' with {string.Join(',', pieces)} of {string.Join(',', types)}: expected {expected}, got {actual}");
        }
    }

    [Fact]
    public void Control_tokens_shorter_than_one_that_crosses_a_border_are_found()
    {
        Vocabulary vocabulary = new(new VocabularySource { Model = "llama", Pieces = PieceTable.From(["<a>", "<a><b>", "x"]), Types = [3, 3, 1] });
        LiteralRanges literals = new();
        literals.Add(0, 4);
        List<TextFragment> fragments = [];
        new SpecialTokenMatcher(vocabulary).Split("<a><b>"u8, literals, fragments);
        Assert.Equal([new TextFragment(0, 3, 0), new TextFragment(3, 6, -1)], fragments);
    }

    private static string Word(Random random, int length) => new([.. Enumerable.Range(0, length).Select(_ => "aab b<"[random.Next(6)])]);

    private static string Show(IEnumerable<TextFragment> fragments, string text) =>
        string.Join(' ', fragments.Select(f => f.TokenId >= 0 ? $"#{f.TokenId}" : $"[{text[f.StartBytes..f.EndBytes]}]"));

    // One token after the other, the longest first, from left to right in what is still text.
    private static List<TextFragment> Reference(string text, Vocabulary vocabulary, bool parse)
    {
        const TokenAttributes Unspoken = TokenAttributes.Control | TokenAttributes.Unknown;
        List<TextFragment> parts = [new(0, text.Length, -1)];
        foreach (int id in Enumerable.Range(0, vocabulary.Count).OrderByDescending(i => vocabulary.Pieces[i].Length))
        {
            TokenAttributes attributes = vocabulary.Attributes(id);
            if ((attributes & (Unspoken | TokenAttributes.UserDefined)) == 0 || (!parse && (attributes & Unspoken) != 0)) continue;
            string piece = vocabulary.Pieces.Text(id);
            List<TextFragment> next = [];
            foreach (TextFragment part in parts)
            {
                int start = part.StartBytes;
                while (part.TokenId < 0)
                {
                    int match = text.IndexOf(piece, start, part.EndBytes - start, StringComparison.Ordinal);
                    if (match < 0) break;
                    if (match > start) next.Add(new TextFragment(start, match, -1));
                    next.Add(new TextFragment(match, match + piece.Length, id));
                    start = match + piece.Length;
                    while ((attributes & TokenAttributes.StripRight) != 0 && start < part.EndBytes && text[start] == ' ') start++;
                }

                if (part.TokenId >= 0 || start < part.EndBytes) next.Add(part with { StartBytes = start });
            }

            parts = next;
        }

        return parts;
    }
}
