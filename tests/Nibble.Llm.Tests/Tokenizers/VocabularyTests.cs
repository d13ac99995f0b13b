using Nibble.Core.Gguf;
using Nibble.Llm.Tokenizers;

namespace Nibble.Llm.Tests.Tokenizers;

public class VocabularyTests
{
    private static VocabularySource Spm(params (string Piece, int Type)[] tokens) => new()
    {
        Model = "llama",
        Pieces = PieceTable.From(tokens.Select(t => t.Piece)),
        Types = [.. tokens.Select(t => t.Type)],
        Special = new SpecialTokenIds { Bos = 0, Eos = 1 },
    };

    // As llama_vocab_is_eog of llama.cpp v0.5.0 says for every id.
    [Theory]
    [InlineData("gpt-2", 50256)]
    [InlineData("llama-spm", 2)]
    [InlineData("bert-bge", 0)]
    [InlineData("deepseek-coder", 32014)]
    [InlineData("deepseek-llm", 100001)]
    [InlineData("falcon", 11)]
    [InlineData("llama-bpe", 128001, 128009)]
    [InlineData("phi-3", 2, 32000, 32007)]
    [InlineData("qwen2", 128247, 151643, 151645)]
    [InlineData("starcoder", 0, 4)]
    [InlineData("smollm2", 0, 2, 4)]
    public void End_of_generation_tokens_are_llama_cpps(string name, params int[] expected)
    {
        Tokenizer tokenizer = TokenizerCases.Tokenizer(name);
        Assert.Equal(expected, Enumerable.Range(0, tokenizer.Vocabulary.Count).Where(tokenizer.IsEndOfGeneration));
    }

    [Theory]
    [InlineData("gpt-2", false, false, false)]
    [InlineData("llama-spm", true, false, true)]
    [InlineData("bert-bge", true, true, false)]
    [InlineData("llama-bpe", true, false, false)]
    [InlineData("smollm2", false, false, false)]
    public void Prompts_begin_and_end_as_the_file_or_its_kind_says(string name, bool bos, bool eos, bool space)
    {
        Vocabulary vocabulary = TokenizerCases.Tokenizer(name).Vocabulary;
        Assert.Equal((bos, eos, space), (vocabulary.AddBos, vocabulary.AddEos, vocabulary.AddSpacePrefix));
    }

    [Theory]
    [InlineData("t5")]
    [InlineData("rwkv")]
    [InlineData("plamo2")]
    [InlineData("none")]
    public void Another_kind_of_tokenizer_is_an_error_that_names_it(string model)
    {
        TokenizerException error = Assert.Throws<TokenizerException>(() => Tokenizer.Create(Spm(("a", 1)) with { Model = model }));
        Assert.Contains($"'{model}'", error.Message);
        Assert.Contains("tokenizer.ggml.model", error.Message);
    }

    [Fact]
    public void Arrays_that_are_too_short_are_errors_with_both_lengths()
    {
        VocabularySource source = Spm(("a", 1), ("b", 1), ("c", 1));
        TokenizerException error = Assert.Throws<TokenizerException>(() => Tokenizer.Create(source with { Types = [1, 1] }));
        Assert.Contains("tokenizer.ggml.token_type has 2", error.Message);
        Assert.Contains("3", error.Message);
        Assert.Contains("scores has 1", Assert.Throws<TokenizerException>(() => Tokenizer.Create(source with { Scores = [0] })).Message);
        Assert.Throws<TokenizerException>(() => Tokenizer.Create(source with { Pieces = PieceTable.From([]), Types = null }));
    }

    [Fact]
    public void A_byte_token_spelled_wrongly_is_an_error_that_names_it() =>
        Assert.Contains("'<0xZZ>'", Assert.Throws<TokenizerException>(() => Tokenizer.Create(Spm(("<0xZZ>", 6)))).Message);

    [Fact]
    public void Merges_must_be_there_and_be_two_pieces()
    {
        VocabularySource source = new() { Model = "gpt2", PreTokenizer = "gpt-2", Pieces = PieceTable.From(["a", "b", "ab"]) };
        Assert.Contains("tokenizer.ggml.merges", Assert.Throws<TokenizerException>(() => Tokenizer.Create(source)).Message);
        Assert.Contains("'ab' at 1", Assert.Throws<TokenizerException>(() => Tokenizer.Create(source with { Merges = PieceTable.From(["a b", "ab"]) })).Message);
    }

    [Fact]
    public void An_id_outside_of_the_vocabulary_is_a_warning_and_not_used()
    {
        Tokenizer tokenizer = Tokenizer.Create(Spm(("<s>", 3), ("a", 1)) with { Special = new SpecialTokenIds { Bos = 0, Eos = 7 }, AddEos = true });
        Assert.Null(tokenizer.Vocabulary.Special.Eos);
        Assert.False(tokenizer.Vocabulary.AddEos);
        Assert.Contains(tokenizer.Warnings, w => w.Contains("EOS token is 7") && w.Contains("2 tokens"));
    }

    [Fact]
    public void A_known_end_token_becomes_a_control_token_with_a_warning()
    {
        Tokenizer tokenizer = Tokenizer.Create(Spm(("<s>", 3), ("</s>", 3), ("<|im_end|>", 4)));
        Assert.Equal(2, tokenizer.Vocabulary.Special.Eot);
        Assert.True(tokenizer.IsEndOfGeneration(2));
        Assert.True(tokenizer.Vocabulary.IsHidden(2));
        Assert.Contains(tokenizer.Warnings, w => w.Contains("<|im_end|>"));
    }

    [Fact]
    public void Parts_of_a_harmony_answer_are_shown_but_never_come_from_a_users_text()
    {
        Tokenizer tokenizer = Tokenizer.Create(Spm(
            ("<|startoftext|>", 3), ("<|return|>", 3), ("<|call|>", 3), ("<|end|>", 3), ("<|channel|>", 3), ("<|message|>", 3), ("<unk>", 2)) with { Special = new SpecialTokenIds { Unknown = 6 } });
        int channel = tokenizer.Find("<|channel|>")!.Value, end = tokenizer.Find("<|end|>")!.Value;
        Assert.True(tokenizer.IsEndOfGeneration(tokenizer.Find("<|call|>")!.Value));
        Assert.False(tokenizer.IsEndOfGeneration(end));
        Assert.Equal("<|channel|><|end|>", tokenizer.Decode([channel, end], renderSpecial: false));
        Assert.Equal([channel], tokenizer.Encode("<|channel|>", parseSpecial: true, addBosEos: false));
        Assert.DoesNotContain(channel, tokenizer.Encode("<|channel|>", parseSpecial: false, addBosEos: false));
    }

    [Fact]
    public void Gemma_4_does_not_end_at_an_HTML_tag()
    {
        Tokenizer tokenizer = Tokenizer.Create(Spm(("<bos>", 3), ("<eos>", 3), ("</s>", 4), ("<|tool_response>", 3)));
        Assert.False(tokenizer.IsEndOfGeneration(2));
        Assert.Equal(TokenAttributes.Normal, tokenizer.Vocabulary.Attributes(2));
    }

    [Fact]
    public void Text_without_byte_tokens_is_unknown_or_an_error_that_names_it()
    {
        VocabularySource source = Spm(("<s>", 3), ("</s>", 3), ("\u2581", 1), ("a", 1), ("<unk>", 2));
        Tokenizer tokenizer = Tokenizer.Create(source with { Special = source.Special with { Unknown = 4 } });
        Assert.Equal([2, 3, 4], tokenizer.Encode("ab", false, false));

        // Without a name for it, the unknown token is id 0, which text must not become here.
        TokenizerException error = Assert.Throws<TokenizerException>(() => Tokenizer.Create(source).Encode("ab", false, false));
        Assert.Contains("'b'", error.Message);
        Assert.Contains("0x62", error.Message);
    }

    [Fact]
    public void Text_never_merges_into_a_control_token()
    {
        Tokenizer spm = Tokenizer.Create(Spm(("<s>", 3), ("</s>", 3), ("\u2581", 1), ("<", 1), ("s", 1), (">", 1), ("s>", 1)) with { AddSpacePrefix = false });
        Assert.Equal([3, 6], spm.Encode("<s>", false, false));
        Assert.Equal([0], spm.Encode("<s>", true, false));

        VocabularySource bpe = new()
        {
            Model = "gpt2", PreTokenizer = "llama-bpe", Pieces = PieceTable.From(["P", "A", "D", "PA", "PAD"]), Types = [1, 1, 1, 1, 3], Merges = PieceTable.From(["P A", "PA D"]),
        };
        Assert.Equal([0, 1, 2], Tokenizer.Create(bpe).Encode("PAD", false, false));
        Assert.Equal([4], Tokenizer.Create(bpe).Encode("PAD", true, false));

        Tokenizer bert = Tokenizer.Create(new VocabularySource { Model = "bert", Pieces = PieceTable.From(["[UNK]", "\u2581mask", "\u2581ma", "sk"]), Types = [3, 3, 1, 1], Special = new SpecialTokenIds { Unknown = 0 } });
        Assert.Equal([2, 3], bert.Encode("mask", false, false));
    }

    [Fact]
    public void The_last_of_equal_pieces_is_found_with_a_warning()
    {
        Tokenizer tokenizer = Tokenizer.Create(Spm(("<s>", 3), ("</s>", 3), ("a", 1), ("a", 1)));
        Assert.Equal(3, tokenizer.Find("a"));
        Assert.Contains(tokenizer.Warnings, w => w.StartsWith("1 tokens"));
    }

    [Fact]
    public void Gemma_4_merges_characters_spells_spaces_and_falls_back_to_bytes()
    {
        string[] pieces = ["<bos>", "\u2581", "a", "b", "\u2581a", "ab", "\n", "\n\n", "<0xC3>", "<0xA9>"];
        Tokenizer tokenizer = Tokenizer.Create(new VocabularySource
        {
            Model = "gemma4",
            Pieces = PieceTable.From(pieces),
            Types = [3, 1, 1, 1, 1, 1, 1, 1, 6, 6],
            Merges = PieceTable.From(["\u2581 a", "a b"]),
            Special = new SpecialTokenIds { Bos = 0 },
            AddBos = false,
        });
        int[] ids = tokenizer.Encode("ab ab\n\n\u00E9", parseSpecial: false, addBosEos: true);
        Assert.Equal(["<bos>", "ab", "\u2581a", "b", "\n\n", "<0xC3>", "<0xA9>"], ids.Select(id => pieces[id]));
        Assert.Equal("ab ab\n\n\u00E9", tokenizer.Decode(ids, renderSpecial: false));
    }

    [Fact]
    public void What_merges_form_without_being_a_token_is_spelled_in_bytes()
    {
        string[] pieces = ["a", "b", "c", "abc"];
        VocabularySource source = new() { Model = "gpt2", PreTokenizer = "gpt-2", Pieces = PieceTable.From(pieces), Merges = PieceTable.From(["a b", "ab c"]) };
        Tokenizer tokenizer = Tokenizer.Create(source);
        Assert.Equal([3], tokenizer.Encode("abc", false, false)); // by way of "ab", which is no token
        Assert.Equal([0, 1, 0], tokenizer.Encode("aba", false, false));
    }

    [Theory]
    [InlineData("tokenizer.ggml.model")]
    [InlineData("tokenizer.ggml.tokens")]
    [InlineData("tokenizer.ggml.merges")]
    public void Metadata_without_a_needed_key_is_an_error_that_names_it(string key)
    {
        string path = Path.GetTempFileName();
        try
        {
            using (GgufFile whole = GgufFile.Open(Fixtures.Golden("tokenizers", "ggml-vocab-gpt-2.gguf")))
            {
                GgufWriter writer = GgufWriter.From(whole);
                Assert.True(writer.Remove(key));
                writer.Write(path);
            }

            using GgufFile file = GgufFile.Open(path);
            Assert.Contains(key, Assert.Throws<TokenizerException>(() => Tokenizer.FromMetadata(file.Metadata)).Message);
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void A_tokenizer_serves_several_threads()
    {
        Tokenizer tokenizer = TokenizerCases.Tokenizer("gpt-2");
        IReadOnlyList<TokenizerCase> cases = TokenizerCases.Cases("gpt-2");
        Parallel.For(0, 8, _ =>
        {
            foreach (TokenizerCase c in cases) Assert.Equal(c.Plain, tokenizer.Encode(c.Text, false, false));
        });
    }
}
