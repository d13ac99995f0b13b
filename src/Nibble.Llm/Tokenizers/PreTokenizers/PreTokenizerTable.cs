using System.Collections.Frozen;

namespace Nibble.Llm.Tokenizers.PreTokenizers;

/// <summary>One value of <c>tokenizer.ggml.pre</c>: the pre-tokenizer and what else llama.cpp v0.5.0 derives from it.</summary>
internal sealed record PreTokenizerEntry(string Name, PreTokenizer PreTokenizer)
{
    /// <summary>Whether a word that is a token is that token, whatever the merges would give.</summary>
    public bool IgnoreMerges { get; init; }

    /// <summary>Whether a BOS token is added where the file does not say.</summary>
    public bool AddBos { get; init; }

    /// <summary>Whether a BOS token is added whatever the file says.</summary>
    public bool AlwaysAddBos { get; init; }

    /// <summary>Whether merging works on bytes spelled as characters (GPT-2); otherwise on characters, with tokens &lt;0x00&gt; to &lt;0xFF&gt; for the rest.</summary>
    public bool ByteLevel { get; init; } = true;

    /// <summary>Whether spaces are spelled U+2581 in the vocabulary.</summary>
    public bool EscapeSpaces { get; init; }

    /// <summary>Whether a run of line feeds that is a token is that token, whatever the merges would give.</summary>
    public bool LineFeedRunsAreTokens { get; init; }

    /// <summary>Whether merges may be missing from the file.</summary>
    public bool MergesOptional { get; init; }
}

/// <summary>Every value of <c>tokenizer.ggml.pre</c> that llama.cpp v0.5.0 knows.</summary>
internal static class PreTokenizerTable
{
    /// <summary>What a file without the key gets.</summary>
    public const string DefaultName = "default";

    private static readonly PreTokenizerEntry[] Entries =
    [
        new(DefaultName, PreTokenizers.Default),
        .. Group(new("llama-bpe", PreTokenizers.Llama3) { IgnoreMerges = true, AddBos = true }, "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"),
        .. Group(new("dbrx", PreTokenizers.Llama3), "smaug-bpe", "glm4", "chatglm-bpe"),
        new("jais-2", PreTokenizers.Jais2),
        new("minicpm5", PreTokenizers.MiniCpm5) { IgnoreMerges = true },
        new("deepseek-llm", PreTokenizers.DeepSeekLlm),
        new("deepseek-coder", PreTokenizers.DeepSeekCoder),
        .. Group(new("deepseek-v3", PreTokenizers.DeepSeek3), "hunyuan-dense", "hy_v4", "joyai-llm"),
        new("spark2_5", PreTokenizers.Spark),
        new("youtu", PreTokenizers.Youtu) { IgnoreMerges = true },
        new("falcon", PreTokenizers.Falcon),
        .. Group(new("gpt-2", PreTokenizers.Gpt2), "phi-2", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum", "modern-bert", "jina-v1-en", "jina-v2-code", "roberta-bpe", "mpt", "olmo", "jais", "exaone4", "trillion", "granite-docling"),
        .. Group(new("starcoder", PreTokenizers.SingleDigitGpt2), "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"),
        .. Group(new("qwen2", PreTokenizers.Qwen2), "deepseek-r1-qwen", "kormo", "f2llmv2", "stablelm2", "megrez", "hunyuan", "grok-2", "solar-open"),
        .. Group(new("bailingmoe", PreTokenizers.Qwen2), "bailingmoe2", "llada-moe"),
        new("qwen35", PreTokenizers.Qwen35),
        new("laguna", PreTokenizers.Laguna),
        new("seed-coder", PreTokenizers.SeedCoder),
        new("ufakzeka", PreTokenizers.UfakZeka),
        new("exaone-moe", PreTokenizers.ExaoneMoe),
        .. Group(new("gemma4", PreTokenizers.Lines) { ByteLevel = false, EscapeSpaces = true, LineFeedRunsAreTokens = true, AlwaysAddBos = true }, "granite-embed-multi-311m"),
        new("sarvam-moe", PreTokenizers.Lines) { ByteLevel = false, EscapeSpaces = true },
        new("whitespace", PreTokenizers.Whitespace) { ByteLevel = false },
        .. Group(new("bloom", PreTokenizers.Bloom), "poro-chat", "gpt3-finnish"),
        new("viking", PreTokenizers.Viking),
        new("tekken", PreTokenizers.Tekken) { IgnoreMerges = true, AddBos = true },
        new("chameleon", PreTokenizers.Chameleon) { AddBos = true },
        .. Group(new("gpt-4o", PreTokenizers.Gpt4O), "llama4", "kanana2", "talkie", "minimax-m2"),
        new("granite-embed-multi-97m", PreTokenizers.GraniteEmbedding) { IgnoreMerges = true },
        .. Group(new("tiny_aya", PreTokenizers.TinyAya), "cohere2moe"),
        new("superbpe", PreTokenizers.SuperBpe),
        new("kimi-k2", PreTokenizers.KimiK2) { MergesOptional = true },
        new("afmoe", PreTokenizers.Afmoe),
    ];

    private static readonly FrozenDictionary<string, PreTokenizerEntry> ByName = Entries.ToFrozenDictionary(e => e.Name, StringComparer.Ordinal);

    /// <summary>All names.</summary>
    public static IEnumerable<string> Names => Entries.Select(e => e.Name);

    /// <summary>The entry of a name.</summary>
    /// <exception cref="TokenizerException">The name is unknown.</exception>
    public static PreTokenizerEntry Find(string name) => ByName.TryGetValue(name, out PreTokenizerEntry? entry)
        ? entry
        : throw new TokenizerException($"tokenizer.ggml.pre is '{name}', a pre-tokenizer that Nibble does not know; it knows {string.Join(", ", Names.Order(StringComparer.Ordinal))}.");

    private static IEnumerable<PreTokenizerEntry> Group(PreTokenizerEntry first, params string[] others) =>
        [first, .. others.Select(name => first with { Name = name })];
}
