using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Nibble.Core.Gguf;
using Nibble.Llm.Tokenizers;
using Nibble.Quantize.Import;

namespace Nibble.Quantize.Tests.Import;

/// <summary>Tokenizers of Hugging Face folders: ids as llama.cpp gives them for the same vocabulary, roles, prompts' ends, templates, and errors.</summary>
public sealed class TokenizerImportTests : IDisposable
{
    private readonly List<GgufFile> _opened = [];

    [Fact]
    public void A_sentencepiece_model_gives_the_ids_of_llama_cpp()
    {
        using GgufFile vocabulary = GgufFile.Open(Fixtures.Golden("tokenizers", "ggml-vocab-llama-spm.gguf"));
        using HfFolder folder = FolderFor(vocabulary);
        folder.WriteBytes("tokenizer.model", Model(vocabulary));
        Tokenizer tokenizer = Imported(folder, out GgufMetadata metadata);
        Assert.Equal("llama", metadata.GetString("tokenizer.ggml.model"));
        CheckGolden(tokenizer, "llama-spm.json");
        Assert.Equal(1, tokenizer.Vocabulary.Special.Bos);
        Assert.Equal(2, tokenizer.Vocabulary.Special.Eos);
        Assert.True(tokenizer.Vocabulary.AddSpacePrefix);
    }

    [Fact]
    public void A_tokenizer_json_with_spelled_spaces_gives_the_same_ids()
    {
        using GgufFile vocabulary = GgufFile.Open(Fixtures.Golden("tokenizers", "ggml-vocab-llama-spm.gguf"));
        using HfFolder folder = FolderFor(vocabulary);
        folder.WriteText("tokenizer.json", SpelledJson(vocabulary).ToJsonString());
        folder.WriteText("tokenizer_config.json", """{"bos_token":{"content":"<s>"},"eos_token":"</s>","unk_token":"<unk>"}""");
        Tokenizer tokenizer = Imported(folder, out _);
        CheckGolden(tokenizer, "llama-spm.json");
        Assert.True(tokenizer.Vocabulary.AddBos);
        Assert.Equal(0, tokenizer.Vocabulary.Special.Unknown);
    }

    [Fact]
    public void A_byte_level_tokenizer_json_gives_the_ids_of_llama_cpp()
    {
        using GgufFile vocabulary = GgufFile.Open(Fixtures.Golden("tokenizers", "ggml-vocab-gpt-2.gguf"));
        using HfFolder folder = FolderFor(vocabulary);
        JsonArray merges = [];
        GgufStringArray texts = vocabulary.Metadata.GetStrings("tokenizer.ggml.merges");
        for (int i = 0; i < texts.Count; i++) merges.Add(i % 2 == 0 ? texts[i] : JsonSerializer.SerializeToNode(texts[i].Split(' ')));
        JsonObject json = ByteLevelJson("""{"type":"ByteLevel","add_prefix_space":false,"use_regex":true}""", false);
        json["model"]!["vocab"] = Pieces(vocabulary);
        json["model"]!["merges"] = merges;
        json["added_tokens"] = JsonNode.Parse("""[{"id":50256,"content":"<|endoftext|>","special":true}]""");
        folder.WriteText("tokenizer.json", json.ToJsonString());
        CheckGolden(Imported(folder, out _), "gpt-2.json");
    }

    [Theory]
    [InlineData("llama-bpe", true, """(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""")]
    [InlineData("dbrx", false, """(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""")]
    [InlineData("qwen2", false, """(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""")]
    [InlineData("qwen2", false, """(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""")]
    [InlineData("tekken", true, """[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+""")]
    [InlineData("gpt-4o", false, """[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+""")]
    [InlineData("gpt-2", false, """'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""")]
    public void A_pattern_has_the_name_that_gguf_gives_it(string name, bool ignoresMerges, string pattern)
    {
        JsonObject split = new() { ["type"] = "Split", ["pattern"] = new JsonObject { ["Regex"] = pattern }, ["behavior"] = "Isolated", ["invert"] = false };
        JsonObject json = ByteLevelJson($$"""{"type":"Sequence","pretokenizers":[{{split.ToJsonString()}},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]}""", ignoresMerges);
        Assert.Equal(name, PreTokenizerOf(json));
    }

    [Theory]
    [InlineData("smollm", """{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"ByteLevel","add_prefix_space":false,"use_regex":true}]}""")]
    [InlineData("deepseek-coder", """{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"[\r\n]"},"behavior":"Isolated","invert":false},{"type":"Split","pattern":{"Regex":"\\s?\\p{L}+"},"behavior":"Isolated","invert":false},{"type":"Split","pattern":{"Regex":"\\s?\\p{P}+"},"behavior":"Isolated","invert":false},{"type":"Split","pattern":{"Regex":"[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"},"behavior":"Isolated","invert":false},{"type":"Digits","individual_digits":true},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]}""")]
    public void A_sequence_of_steps_has_the_name_that_gguf_gives_it(string name, string preTokenizer) => Assert.Equal(name, PreTokenizerOf(ByteLevelJson(preTokenizer, false)));

    [Theory]
    [InlineData("""{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"[made-up]+"},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]}""", "[made-up]+")]
    [InlineData("""{"type":"Sequence","pretokenizers":[{"type":"Whitespace"},{"type":"ByteLevel","add_prefix_space":false,"use_regex":true}]}""", "Whitespace")]
    [InlineData("""{"type":"Split","pattern":{"String":" "},"behavior":"MergedWithPrevious","invert":false}""", "MergedWithPrevious")]
    [InlineData("""{"type":"ByteLevel","add_prefix_space":true,"use_regex":true}""", "add_prefix_space is true")]
    [InlineData("null", "no split")]
    public void An_unknown_pre_tokenizer_is_an_error_that_prints_it(string preTokenizer, string expected)
    {
        using HfFolder folder = TinyLlama.Folder();
        JsonObject json = JsonNode.Parse(File.ReadAllText(Path.Combine(folder.Path, "tokenizer.json")))!.AsObject();
        json["pre_tokenizer"] = JsonNode.Parse(preTokenizer);
        folder.WriteText("tokenizer.json", json.ToJsonString());
        folder.Write();
        ImportException error = Assert.Throws<ImportException>(() => ModelImport.Open(folder.Path));
        Assert.Equal("tokenizer.json", error.FileName);
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_name_in_the_table_is_one_that_the_runtime_knows()
    {
        foreach (string name in PreTokenizerNames.Names)
        {
            VocabularySource source = new() { Model = "gpt2", PreTokenizer = name, Pieces = PieceTable.From(["a", "b"]), Merges = PieceTable.From([]) };
            Assert.NotNull(Tokenizer.Create(source));
        }
    }

    [Theory]
    [InlineData("{}", """{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"tok_260","type_id":0}},{"Sequence":{"id":"A","type_id":0}}]}""", true, false)]
    [InlineData("{}", """{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"tok_261","type_id":0}}]}""", false, true)]
    [InlineData("{}", """{"type":"Sequence","processors":[{"type":"ByteLevel"},{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"tok_260","type_id":0}},{"Sequence":{"id":"A","type_id":0}}]}]}""", true, false)]
    [InlineData("{}", "null", false, false)]
    [InlineData("""{"add_bos_token":true,"add_eos_token":true}""", "null", true, true)]
    [InlineData("""{"add_bos_token":false}""", """{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"tok_260","type_id":0}},{"Sequence":{"id":"A","type_id":0}}]}""", false, false)]
    [InlineData("""{"tokenizer_class":"LlamaTokenizerFast"}""", "null", true, false)]
    public void What_a_prompt_begins_and_ends_with_follows_settings_and_post_processor(string settings, string processor, bool addsBos, bool addsEos)
    {
        using HfFolder folder = TinyLlama.Folder();
        JsonObject json = JsonNode.Parse(File.ReadAllText(Path.Combine(folder.Path, "tokenizer.json")))!.AsObject();
        json["post_processor"] = JsonNode.Parse(processor);
        folder.WriteText("tokenizer.json", json.ToJsonString());
        JsonObject config = JsonNode.Parse(settings)!.AsObject();
        config["bos_token"] = "tok_260";
        config["eos_token"] = new JsonObject { ["content"] = "tok_261" };
        folder.WriteText("tokenizer_config.json", config.ToJsonString());
        Tokenizer tokenizer = Imported(folder, out _);
        Assert.Equal((260, 261), (tokenizer.Vocabulary.Special.Bos, tokenizer.Vocabulary.Special.Eos));
        Assert.Equal((addsBos, addsEos), (tokenizer.Vocabulary.AddBos, tokenizer.Vocabulary.AddEos));
    }

    [Fact]
    public void Templates_come_from_the_jinja_file_or_the_settings()
    {
        using HfFolder folder = TinyLlama.Folder();
        folder.WriteText("tokenizer_config.json", """{"chat_template":[{"name":"default","template":"{{ 1 }}"},{"name":"tool_use","template":"{{ 2 }}"}]}""");
        Imported(folder, out GgufMetadata metadata);
        Assert.Equal("{{ 1 }}", metadata.GetString("tokenizer.chat_template"));
        Assert.Equal("{{ 2 }}", metadata.GetString("tokenizer.chat_template.tool_use"));
        folder.WriteText("chat_template.jinja", "{{ 3 }}");
        Imported(folder, out metadata);
        Assert.Equal("{{ 3 }}", metadata.GetString("tokenizer.chat_template"));
    }

    [Fact]
    public void Added_tokens_are_control_or_user_defined_and_missing_ids_unused()
    {
        using HfFolder folder = TinyLlama.Folder();
        folder.Config["vocab_size"] = 304;
        foreach (string name in (string[])["model.embed_tokens.weight", "lm_head.weight"]) folder.Set(name, [304, 32], new float[304 * 32]);
        JsonObject json = JsonNode.Parse(File.ReadAllText(Path.Combine(folder.Path, "tokenizer.json")))!.AsObject();
        json["added_tokens"] = JsonNode.Parse("""[{"id":300,"content":"<a>","special":true},{"id":301,"content":"<b>","special":false},{"id":303,"content":"<|c|>","special":false,"rstrip":true}]""");
        folder.WriteText("tokenizer.json", json.ToJsonString());
        Tokenizer tokenizer = Imported(folder, out GgufMetadata metadata);
        int[] types = metadata.FindInt32Array("tokenizer.ggml.token_type")!;
        Assert.Equal([1, 3, 4, 5, 3], types[299..]);
        Assert.Equal([301], tokenizer.Encode("<b>", parseSpecial: false, addBosEos: false));
        using ModelImport import = ModelImport.Open(folder.Path);
        Assert.Contains(import.Notes, note => note.Contains("rstrip", StringComparison.Ordinal));
    }

    [Fact]
    public void Damaged_sentencepiece_models_are_refused()
    {
        using GgufFile vocabulary = GgufFile.Open(Fixtures.Golden("tokenizers", "ggml-vocab-llama-spm.gguf"));
        byte[] good = Model(vocabulary, 300);
        Assert.Equal(300, SentencePieceModel.Parse("x", good).Pieces.Count);
        Assert.Contains("no piece", Assert.Throws<ImportException>(() => SentencePieceModel.Parse("x", [])).Message, StringComparison.Ordinal);
        // Field 2, trainer_spec, with model_type (3) = 1.
        Assert.Contains("'unigram'", Assert.Throws<ImportException>(() => SentencePieceModel.Parse("x", [.. good, 0x12, 2, 0x18, 1])).Message, StringComparison.Ordinal);
        for (int length = 0; length < 400; length++)
            Assert.Throws<ImportException>(() => SentencePieceModel.Parse("x", good.AsSpan(0, length)));
        Random random = new(7);
        for (int i = 0; i < 500; i++)
        {
            byte[] damaged = [.. good];
            damaged[random.Next(damaged.Length)] = (byte)random.Next(256);
            try
            {
                SentencePieceModel.Parse("x", damaged);
            }
            catch (ImportException error)
            {
                Assert.StartsWith("x: ", error.Message, StringComparison.Ordinal);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (GgufFile file in _opened) file.Dispose();
    }

    private static HfFolder FolderFor(GgufFile vocabulary)
    {
        int count = vocabulary.Metadata.GetStrings("tokenizer.ggml.tokens").Count;
        HfFolder folder = TinyLlama.Folder();
        File.Delete(Path.Combine(folder.Path, "tokenizer.json"));
        folder.Config["vocab_size"] = count;
        folder.Config["eos_token_id"] = null;
        foreach (string name in (string[])["model.embed_tokens.weight", "lm_head.weight"]) folder.Set(name, [count, 32], new float[count * 32]);
        return folder;
    }

    private Tokenizer Imported(HfFolder folder, out GgufMetadata metadata)
    {
        folder.Write();
        CheckpointImportTests.Import(folder.Path, folder.Output);
        // Metadata stays readable only while the file is open.
        GgufFile file = GgufFile.Open(folder.Output);
        _opened.Add(file);
        metadata = file.Metadata;
        return Tokenizer.FromMetadata(metadata);
    }

    private static void CheckGolden(Tokenizer tokenizer, string name)
    {
        JsonElement cases = JsonDocument.Parse(File.ReadAllText(Fixtures.Golden("tokenizers", name))).RootElement.GetProperty("cases");
        Assert.InRange(cases.GetArrayLength(), 20, int.MaxValue);
        foreach (JsonElement one in cases.EnumerateArray())
        {
            string text = one.GetProperty("text").GetString()!;
            int[] expected = [.. one.GetProperty("plain").EnumerateArray().Select(id => id.GetInt32())];
            Assert.True(expected.SequenceEqual(tokenizer.Encode(text, parseSpecial: false, addBosEos: false)), $"{name}: {JsonSerializer.Serialize(text)}");
        }
    }

    private string PreTokenizerOf(JsonObject json)
    {
        using HfFolder folder = TinyLlama.Folder();
        JsonObject old = JsonNode.Parse(File.ReadAllText(Path.Combine(folder.Path, "tokenizer.json")))!.AsObject();
        json["model"]!["vocab"] = old["model"]!["vocab"]!.DeepClone();
        folder.WriteText("tokenizer.json", json.ToJsonString());
        Imported(folder, out GgufMetadata metadata);
        return metadata.GetString("tokenizer.ggml.pre");
    }

    private static JsonObject ByteLevelJson(string preTokenizer, bool ignoresMerges) => new()
    {
        ["added_tokens"] = new JsonArray(),
        ["pre_tokenizer"] = JsonNode.Parse(preTokenizer),
        ["model"] = new JsonObject { ["type"] = "BPE", ["ignore_merges"] = ignoresMerges, ["vocab"] = new JsonObject(), ["merges"] = new JsonArray() },
    };

    private static JsonObject Pieces(GgufFile vocabulary)
    {
        JsonObject pieces = [];
        GgufStringArray tokens = vocabulary.Metadata.GetStrings("tokenizer.ggml.tokens");
        for (int id = 0; id < tokens.Count; id++) pieces[tokens[id]] = id;
        return pieces;
    }

    // As transformers makes it of a SentencePiece model: every pair of pieces that is a piece is a merge, in the order of the pieces' scores (SentencePieceExtractor of transformers 4.40).
    private static JsonObject SpelledJson(GgufFile vocabulary)
    {
        GgufStringArray tokens = vocabulary.Metadata.GetStrings("tokenizer.ggml.tokens");
        float[] scores = vocabulary.Metadata.FindFloat32Array("tokenizer.ggml.scores")!;
        int[] types = vocabulary.Metadata.FindInt32Array("tokenizer.ggml.token_type")!;
        Dictionary<string, int> ids = [];
        for (int id = 0; id < tokens.Count; id++) ids[tokens[id]] = id;
        List<(float Score, int Order, string Left, string Right)> merges = [];
        for (int id = 0; id < tokens.Count; id++)
        {
            if (types[id] != 1) continue;
            string piece = tokens[id];
            for (int at = 1; at < piece.Length; at++)
                if (ids.TryGetValue(piece[..at], out int left) && ids.ContainsKey(piece[at..])) merges.Add((scores[id], left, piece[..at], piece[at..]));
        }

        return new JsonObject
        {
            ["added_tokens"] = JsonNode.Parse("""[{"id":0,"content":"<unk>","special":true},{"id":1,"content":"<s>","special":true},{"id":2,"content":"</s>","special":true}]"""),
            ["normalizer"] = JsonNode.Parse("""{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"\u2581"},{"type":"Replace","pattern":{"String":" "},"content":"\u2581"}]}"""),
            ["post_processor"] = JsonNode.Parse("""{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}]}"""),
            ["model"] = new JsonObject
            {
                ["type"] = "BPE",
                ["unk_token"] = "<unk>",
                ["byte_fallback"] = true,
                ["vocab"] = Pieces(vocabulary),
                ["merges"] = new JsonArray([.. merges.OrderByDescending(merge => merge.Score).ThenBy(merge => merge.Order).Select(merge => JsonValue.Create($"{merge.Left} {merge.Right}"))]),
            },
        };
    }

    // A SentencePiece model: pieces (field 1: text 1, score 2, type 3), then trainer_spec (2) with model_type (3) = BPE (2).
    private static byte[] Model(GgufFile vocabulary, int count = int.MaxValue)
    {
        GgufStringArray tokens = vocabulary.Metadata.GetStrings("tokenizer.ggml.tokens");
        float[] scores = vocabulary.Metadata.FindFloat32Array("tokenizer.ggml.scores")!;
        int[] types = vocabulary.Metadata.FindInt32Array("tokenizer.ggml.token_type")!;
        List<byte> bytes = [];
        for (int id = 0; id < Math.Min(count, tokens.Count); id++)
        {
            byte[] text = Encoding.UTF8.GetBytes(tokens[id]);
            List<byte> piece = [0x0A, .. Varint(text.Length), .. text, 0x15, .. BitConverter.GetBytes(scores[id]), 0x18, (byte)types[id]];
            bytes.AddRange([0x0A, .. Varint(piece.Count), .. piece]);
        }

        bytes.AddRange([0x12, 2, 0x18, 2]);
        return [.. bytes];
    }

    private static byte[] Varint(int value)
    {
        List<byte> bytes = [];
        for (; value > 127; value >>= 7) bytes.Add((byte)(value | 128));
        bytes.Add((byte)value);
        return [.. bytes];
    }
}
