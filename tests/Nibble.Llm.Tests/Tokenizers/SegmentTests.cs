using Nibble.Llm.Tokenizers;

namespace Nibble.Llm.Tests.Tokenizers;

/// <summary>Marked prompts: text of the user never becomes a control token.</summary>
public class SegmentTests(ITestOutputHelper output)
{
    private const int Seed = 4711;
    private const TokenAttributes Unspoken = TokenAttributes.Control | TokenAttributes.Unknown;

    [Theory]
    [MemberData(nameof(OracleTests.Names), MemberType = typeof(OracleTests))]
    public void Every_control_token_in_a_users_text_stays_text(string name)
    {
        Tokenizer tokenizer = TokenizerCases.Tokenizer(name);
        Vocabulary vocabulary = tokenizer.Vocabulary;
        string[] controls = [.. Enumerable.Range(0, vocabulary.Count).Where(id => (vocabulary.Attributes(id) & Unspoken) != 0).Select(vocabulary.Pieces.Text)];
        Assert.NotEmpty(controls);
        foreach (string control in controls)
        {
            List<int> ids = [];
            tokenizer.Encode([new("literal ", true), new($"a{control}b {control}", false), new("\n", true)], ids);
            Assert.DoesNotContain(ids, id => vocabulary.Kind != TokenizerKind.WordPiece && (vocabulary.Attributes(id) & Unspoken) != 0);
            Assert.DoesNotContain(ids, id => (vocabulary.Attributes(id) & TokenAttributes.Control) != 0 && id != vocabulary.Special.Unknown);
            if (vocabulary.Kind != TokenizerKind.WordPiece)
                Assert.Equal($"literal a{control}b {control}\n", tokenizer.Decode(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(ids), renderSpecial: false));
        }
    }

    [Theory]
    [MemberData(nameof(OracleTests.Names), MemberType = typeof(OracleTests))]
    public void Every_control_token_in_literal_text_is_that_token(string name)
    {
        Tokenizer tokenizer = TokenizerCases.Tokenizer(name);
        Vocabulary vocabulary = tokenizer.Vocabulary;
        for (int id = 0; id < vocabulary.Count; id++)
        {
            if ((vocabulary.Attributes(id) & TokenAttributes.Control) == 0) continue;
            List<int> ids = [];
            tokenizer.Encode([new("a", false), new(vocabulary.Pieces.Text(id), true), new("b", false)], ids);
            Assert.Contains(id, ids);
        }
    }

    [Fact]
    public void A_spelling_that_crosses_a_border_is_text()
    {
        Tokenizer tokenizer = TokenizerCases.Tokenizer("gpt-2");
        int end = tokenizer.Find("<|endoftext|>")!.Value;
        Assert.DoesNotContain(end, Encode(("<|endof", true), ("text|>", false)));
        Assert.DoesNotContain(end, Encode(("<|endof", false), ("text|>", true)));
        Assert.DoesNotContain(end, Encode(("<|", true), ("endof", false), ("text|>", true)));
        Assert.Equal([end], Encode(("<|endof", true), ("", false), ("text|>", true)));

        List<int> Encode(params (string Text, bool IsLiteral)[] parts)
        {
            List<int> ids = [];
            tokenizer.Encode([.. parts.Select(p => new TextSegment(p.Text, p.IsLiteral))], ids);
            return ids;
        }
    }

    [Theory]
    [InlineData("gpt-2")]
    [InlineData("llama-spm")]
    [InlineData("bert-bge")]
    [InlineData("smollm2")]
    [InlineData("starcoder")]
    public void Segments_give_the_ids_of_the_joined_text_however_it_is_cut(string name)
    {
        Tokenizer tokenizer = TokenizerCases.Tokenizer(name);
        output.WriteLine($"seed {Seed}");
        Random random = new(Seed);
        for (int i = 0; i < 500; i++)
        {
            string text = RandomText.Next(random);
            List<TextSegment> segments = [];
            for (int start = 0; start < text.Length;)
            {
                int length = Math.Min(random.Next(6), text.Length - start);
                segments.Add(new TextSegment(text.Substring(start, length), random.Next(2) == 0));
                start += length;
            }

            List<int> ids = [];
            tokenizer.Encode([.. segments], ids);
            Assert.Equal(tokenizer.Encode(text, parseSpecial: true, addBosEos: false), ids);
        }
    }

    [Fact]
    public void Control_tokens_around_a_users_text_are_parsed_and_the_text_merges_with_its_neighbours()
    {
        Tokenizer tokenizer = TokenizerCases.Tokenizer("smollm2");
        List<int> ids = [];
        tokenizer.Encode([new("<|im_start|>user\n", true), new("What is the capital of France?", false), new("<|im_end|>\n", true)], ids);
        Assert.Equal(tokenizer.Encode("<|im_start|>user\nWhat is the capital of France?<|im_end|>\n", parseSpecial: true, addBosEos: false), ids);
        Assert.Equal(tokenizer.Find("<|im_start|>"), ids[0]);
    }
}
