using System.Collections.Concurrent;
using System.Text.Json;
using Nibble.Core.Gguf;
using Nibble.Llm.Tokenizers;

namespace Nibble.Llm.Tests.Tokenizers;

/// <summary>A text with the ids that an oracle gives it: with control tokens as ordinary text, and parsed.</summary>
public sealed record TokenizerCase(string Text, int[] Plain, int[] Special);

/// <summary>Vocabularies and oracles of the tokenizer tests, each loaded once.</summary>
public static class TokenizerCases
{
    private static readonly ConcurrentDictionary<string, Lazy<Tokenizer>> Loaded = new();

    /// <summary>The vocabularies that every clone has.</summary>
    public static readonly string[] Golden = ["gpt-2", "llama-spm", "bert-bge"];

    /// <summary>The vocabularies beside the repository.</summary>
    public static readonly string[] Shared = ["deepseek-coder", "deepseek-llm", "falcon", "llama-bpe", "phi-3", "qwen2", "starcoder"];

    /// <summary>The name of the default model, whose vocabulary is one more.</summary>
    public const string DefaultModel = "smollm2";

    /// <summary>The tokenizer of a vocabulary; the calling test is skipped where it is absent.</summary>
    public static Tokenizer Tokenizer(string name)
    {
        string path = VocabularyPath(name);
        return Loaded.GetOrAdd(path, p => new Lazy<Tokenizer>(() => Load(p))).Value;
    }

    /// <summary>The oracle's cases for a vocabulary.</summary>
    public static IReadOnlyList<TokenizerCase> Cases(string name)
    {
        string path = name == DefaultModel ? Fixtures.Golden("tokenizers", "smollm2.json")
            : Golden.Contains(name) ? Fixtures.Golden("tokenizers", name + ".json")
            : Fixtures.Shared("fixtures", "tokenizers", name + ".json");
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(path));
        return [.. document.RootElement.GetProperty("cases").EnumerateArray().Select(c => new TokenizerCase(
            c.GetProperty("text").GetString()!, Ids(c, "plain"), Ids(c, "special")))];

        static int[] Ids(JsonElement element, string name) => [.. element.GetProperty(name).EnumerateArray().Select(id => id.GetInt32())];
    }

    /// <summary>What a vocabulary's file says.</summary>
    public static VocabularySource Source(string name)
    {
        using GgufFile file = GgufFile.Open(VocabularyPath(name));
        return VocabularySource.FromMetadata(file.Metadata);
    }

    private static string VocabularyPath(string name)
    {
        if (name == DefaultModel)
        {
            const string FileName = "SmolLM2-135M-Instruct.Q4_1.gguf";
            string own = Path.Combine(Fixtures.Root, "models", FileName);
            return File.Exists(own) ? own : Fixtures.Shared("models", FileName);
        }

        string file = $"ggml-vocab-{name}.gguf";
        return Golden.Contains(name) ? Fixtures.Golden("tokenizers", file) : Fixtures.Shared("fixtures", "tokenizers", file);
    }

    private static Tokenizer Load(string path)
    {
        using GgufFile file = GgufFile.Open(path);
        return Nibble.Llm.Tokenizers.Tokenizer.FromMetadata(file.Metadata);
    }
}
