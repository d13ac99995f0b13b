using System.Text;
using System.Text.Json;
using Nibble.Llm.Tokenizers;

namespace Nibble.Llm.Tests.Tokenizers;

public class RoundTripTests(ITestOutputHelper output)
{
    private const int Seed = 20261125;

    public static TheoryData<string> Lossless => ["gpt-2", "llama-spm", "smollm2", "llama-bpe", "phi-3", "qwen2", "starcoder", "falcon"];

    [Theory]
    [MemberData(nameof(Lossless))]
    public void Decoding_gives_the_text_back_whole_and_id_by_id(string name)
    {
        Tokenizer tokenizer = TokenizerCases.Tokenizer(name);
        output.WriteLine($"seed {Seed}");
        Random random = new(Seed);
        StreamDecoder stream = new(tokenizer, renderSpecial: true);
        for (int i = 0; i < 2000; i++)
        {
            string text = Spellable(RandomText.Next(random), tokenizer);
            int[] ids = tokenizer.Encode(text, parseSpecial: false, addBosEos: false);
            string decoded = tokenizer.Decode(ids, renderSpecial: true);
            Assert.True(text == decoded, $"{JsonSerializer.Serialize(text)} became {JsonSerializer.Serialize(decoded)}");
            string streamed = "";
            foreach (int id in ids) streamed += stream.Append(id).ToString();
            streamed += stream.Flush().ToString();
            Assert.Equal(text, streamed);
        }
    }

    [Theory]
    [MemberData(nameof(Lossless))]
    public void Arbitrary_ids_stream_to_the_same_text_as_at_once(string name)
    {
        Tokenizer tokenizer = TokenizerCases.Tokenizer(name);
        output.WriteLine($"seed {Seed}");
        Random random = new(Seed);
        StreamDecoder stream = new(tokenizer);
        Span<char> destination = new char[1024];
        for (int i = 0; i < 500; i++)
        {
            int[] ids = [.. Enumerable.Range(0, random.Next(20)).Select(_ => random.Next(tokenizer.Vocabulary.Count))];
            string streamed = "";
            foreach (int id in ids)
            {
                string part = destination[..stream.Append(id, destination)].ToString();
                Assert.False(part.Length > 0 && char.IsHighSurrogate(part[^1]), "half a character came out");
                streamed += part;
            }

            streamed += stream.Flush().ToString();
            Assert.Equal(tokenizer.Decode(ids, renderSpecial: false), streamed);
        }
    }

    [Fact]
    public void Text_after_a_BOS_comes_back_without_the_added_space()
    {
        Tokenizer tokenizer = TokenizerCases.Tokenizer("llama-spm");
        int[] ids = tokenizer.Encode("Hello", parseSpecial: false, addBosEos: true);
        Assert.Equal(1, ids[0]);
        Assert.Equal("Hello", tokenizer.Decode(ids, renderSpecial: false));
        Assert.Equal("<s> Hello", tokenizer.Decode(ids, renderSpecial: true));
    }

    [Fact]
    public void Words_of_WordPiece_come_back_joined_and_lower_case()
    {
        Tokenizer tokenizer = TokenizerCases.Tokenizer("bert-bge");
        int[] ids = tokenizer.Encode("Retokenizing Caf\u00E9s", parseSpecial: false, addBosEos: true);
        Assert.Equal(tokenizer.Find("[CLS]"), ids[0]);
        Assert.Equal(tokenizer.Find("[SEP]"), ids[^1]);
        Assert.Equal("retokenizing cafes", tokenizer.Decode(ids, renderSpecial: false));
    }

    [Fact]
    public void Lone_surrogates_count_as_U_FFFD()
    {
        Tokenizer tokenizer = TokenizerCases.Tokenizer("gpt-2");
        Assert.Equal("a\uFFFDb\uFFFD", tokenizer.Decode(tokenizer.Encode("a\uD800b\uDC00", false, false), false));
        Assert.Equal("\uFFFD", tokenizer.Decode(tokenizer.Encode("\uD83D", false, false), false));
    }

    // SentencePiece spells a space as U+2581. Some byte-level vocabularies have no tokens for bytes that their training text did not hold.
    private static string Spellable(string text, Tokenizer tokenizer)
    {
        if (tokenizer.Vocabulary.Kind == TokenizerKind.SentencePiece) return text.Replace('\u2581', '_');
        StringBuilder result = new();
        Span<byte> utf8 = stackalloc byte[4];
        foreach (Rune rune in text.EnumerateRunes())
        {
            bool known = true;
            foreach (byte value in utf8[..rune.EncodeToUtf8(utf8)]) known &= tokenizer.Find(ByteLevelAlphabet.Spell(value).ToString()) is not null;
            if (known) result.Append(rune);
        }

        return result.ToString();
    }
}
