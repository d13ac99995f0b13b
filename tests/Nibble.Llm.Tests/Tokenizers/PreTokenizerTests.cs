using Nibble.Llm.Tokenizers;
using Nibble.Llm.Tokenizers.PreTokenizers;

namespace Nibble.Llm.Tests.Tokenizers;

public class PreTokenizerTests
{
    // All that llama.cpp v0.5.0 compares tokenizer.ggml.pre with.
    private static readonly string[] LlamaCppNames =
    [
        "a.x-4.0", "afmoe", "bailingmoe", "bailingmoe2", "bloom", "chameleon", "chatglm-bpe", "codeshell", "cohere2moe", "command-r", "dbrx", "deepseek-coder", "deepseek-llm",
        "deepseek-r1-qwen", "deepseek-v3", "default", "exaone", "exaone-moe", "exaone4", "f2llmv2", "falcon", "falcon-h1", "falcon3", "gemma4", "gigachat", "glm4", "gpt-2", "gpt-4o",
        "gpt3-finnish", "granite-docling", "granite-embed-multi-311m", "granite-embed-multi-97m", "grok-2", "hunyuan", "hunyuan-dense", "hy_v4", "jais", "jais-2", "jina-de", "jina-es",
        "jina-v1-en", "jina-v2-code", "jina-v2-de", "jina-v2-es", "jina-v5-nano", "joyai-llm", "kanana2", "kimi-k2", "kormo", "laguna", "lfm2", "llada-moe", "llama-bpe", "llama-v3",
        "llama3", "llama4", "megrez", "mellum", "mellum2", "midm-2.0", "minerva-7b", "minicpm5", "minimax-m2", "modern-bert", "mpt", "olmo", "phi-2", "pixtral", "poro-chat", "qwen2",
        "qwen35", "refact", "roberta-bpe", "sarvam-moe", "seed-coder", "smaug-bpe", "smollm", "solar-open", "spark2_5", "stablelm2", "starcoder", "superbpe", "talkie", "tekken",
        "tiny_aya", "trillion", "ufakzeka", "viking", "whitespace", "youtu",
    ];

    private static readonly VocabularySource Source = new()
    {
        Model = "gpt2",
        Pieces = PieceTable.From(Enumerable.Range(0, 256).Select(b => ByteLevelAlphabet.Spell((byte)b).ToString())),
        Merges = PieceTable.From([]),
    };

    [Fact]
    public void Every_name_that_llama_cpp_knows_is_known()
    {
        Assert.Equal(90, LlamaCppNames.Length);
        foreach (string name in LlamaCppNames) Assert.DoesNotContain(Tokenizer.Create(Source with { PreTokenizer = name }).Warnings, w => w.Contains("pre-tokenizer"));
        Assert.Equal(LlamaCppNames, PreTokenizerTable.Names.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void An_unknown_name_is_an_error_that_names_it()
    {
        TokenizerException error = Assert.Throws<TokenizerException>(() => Tokenizer.Create(Source with { PreTokenizer = "frobnicate" }));
        Assert.Contains("'frobnicate'", error.Message);
        Assert.Contains("tokenizer.ggml.pre", error.Message);
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    public void A_missing_name_is_the_default_with_a_warning(string? name)
    {
        Tokenizer tokenizer = Tokenizer.Create(Source with { PreTokenizer = name });
        Assert.Contains("tokenizer.ggml.pre", Assert.Single(tokenizer.Warnings));
        Assert.Equal(PreTokenizerTable.DefaultName, tokenizer.Vocabulary.PreTokenizer!.Name);
    }

    // The expected pieces follow from each model's regular expression.
    [Theory]
    [InlineData("gpt-2", "Hello  world's 12ab!?", "Hello| | world|'s| 12|ab|!?")]
    [InlineData("default", "a+=12345", "a|+=|123|45")]
    [InlineData("llama3", "HE'LL  pay 12345\r\n\n x!\n", "HE|'LL| | pay| |123|45|\r\n\n| x|!\n")]
    [InlineData("qwen2", "x 123\n \ny", "x| |1|2|3|\n \n|y")]
    [InlineData("qwen35", "e\u0301t\u0301 \u0301", "e\u0301t\u0301| \u0301")]
    [InlineData("starcoder", "ab12 cd", "ab|1|2| cd")]
    [InlineData("falcon", "a.12345", "a|.|123|45")]
    [InlineData("tekken", "HelloWORLDfoo don't/\n", "Hello|WORLDfoo| don|'t|/\n")]
    [InlineData("gpt-4o", "HelloWorld DON'T 1234", "Hello|World| DON'T| |123|4")]
    [InlineData("deepseek-v3", "(foo 12345\u4E2Dab", "(foo| |123|45|\u4E2D|ab")]
    [InlineData("deepseek-llm", "a \u4E2D\n 12  ", "a| |\u4E2D|\n| |12|  ")]
    [InlineData("deepseek-coder", "a, b12", "a|,| b|1|2")]
    [InlineData("spark2_5", "a\n\n.\nb", "a|\n|\n|.|\n|b")]
    [InlineData("minicpm5", "12345", "123|45")]
    [InlineData("exaone-moe", "the quick fox  is/\n", "the quick fox| | is|/\n")]
    [InlineData("seed-coder", "!?\n", "!?|\n")]
    [InlineData("ufakzeka", "Ankara'ya", "Ankara|'ya")]
    [InlineData("laguna", "a \n\n b", "a| |\n\n| b")]
    [InlineData("bloom", "a,  b(c", "a|, | b|(|c")]
    [InlineData("viking", "ab12 c", "ab|1|2| c")]
    [InlineData("chameleon", "IMGIMGABZ<sentinel:12>  x", "IMGIMGABZ|<|sentinel|:|1|2|>|  |x")]
    [InlineData("tiny_aya", "1234567", "1|234|567")]
    [InlineData("superbpe", "x1234567y", "x|1|234|567|y")]
    [InlineData("kimi-k2", "\u4E2D\u6587Foo's", "\u4E2D\u6587|Foo's")]
    [InlineData("youtu", "\uAC00\u4E2D, a", "\uAC00|\u4E2D|,| a")]
    [InlineData("gemma4", "a b\n\nc", "a b|\n\n|c")]
    [InlineData("whitespace", "a  bc\td", "a|  |bc|\t|d")]
    public void Words_are_cut_as_the_models_expression_says(string name, string text, string expected) =>
        Assert.Equal(expected.Split('|'), PreTokenizerTable.Find(name).PreTokenizer.Split(text));

    [Fact]
    public void Jais_cuts_white_space_into_powers_of_two()
    {
        IReadOnlyList<string> words = PreTokenizers.Jais2.Split(new string(' ', 600) + "x");
        Assert.Equal([512, 64, 16, 4, 2, 1, 2], words.Select(w => w.Length));
        Assert.Equal(" x", words[^1]);
    }

    [Fact]
    public void Pieces_of_every_pre_tokenizer_make_up_the_text()
    {
        const int Seed = 12;
        Random random = new(Seed);
        string[] texts = [.. Enumerable.Range(0, 300).Select(_ => RandomText.Next(random))];
        foreach (string name in PreTokenizerTable.Names)
            foreach (string text in texts)
                Assert.Equal(text, string.Concat(PreTokenizerTable.Find(name).PreTokenizer.Split(text)));
    }

    [Fact]
    public void Classes_are_those_of_Unicode_15_1()
    {
        Assert.Equal(CodePointClass.Letter, UnicodeTables.ClassOf('A'));
        Assert.Equal(CodePointClass.Letter, UnicodeTables.ClassOf(0x2EBF0)); // new in 15.1
        Assert.Equal(CodePointClass.Undefined, UnicodeTables.ClassOf(0x1C89)); // new in 16.0
        Assert.Equal(CodePointClass.Separator | CodePointClass.Whitespace, UnicodeTables.ClassOf(0x3000));
        Assert.Equal(CodePointClass.Control | CodePointClass.Whitespace, UnicodeTables.ClassOf('\n'));
        Assert.Equal(CodePointClass.Control, UnicodeTables.ClassOf(0x10FFFD));
        Assert.Equal(CodePointClass.Undefined, UnicodeTables.ClassOf(0x10FFFF));
        Assert.Equal('\u00E9', UnicodeTables.ToLower('\u00C9'));
        Assert.Equal('E', UnicodeTables.BaseOf('\u00C9'));
        Assert.Equal(0x1100, UnicodeTables.BaseOf('\uAC00'));
    }

    [Fact]
    public void Sets_hold_their_characters_and_ranges()
    {
        CodePointSet set = new("a-c\u4E00-\u4E02\U00010400-\U0001044F-");
        Assert.True(new CodePointSet("a-cx").Contains('b'));
        Assert.True(new CodePointSet("a-cx").Contains('x'));
        Assert.False(new CodePointSet("a-cx").Contains('d'));
        Assert.True(set.Contains('-'));
        Assert.True(set.Contains(0x4E01));
        Assert.False(set.Contains(0x4E03));
        Assert.True(set.Contains(0x10420));
    }
}
