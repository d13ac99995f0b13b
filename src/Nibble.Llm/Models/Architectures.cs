using System.Collections.Immutable;
using Nibble.Core.Gguf;
using Nibble.Llm.Families;
using Nibble.Llm.Layers;

namespace Nibble.Llm.Models;

/// <summary>An architecture that runs.</summary>
public sealed class Architecture
{
    internal Architecture(string name, string models, Func<ModelReader, Decoder> build)
    {
        Name = name;
        Models = models;
        Build = build;
    }

    /// <summary>The value of <c>general.architecture</c>.</summary>
    public string Name { get; }

    /// <summary>The models that people know it by.</summary>
    public string Models { get; }

    internal Func<ModelReader, Decoder> Build { get; }
}

/// <summary>The table of architectures, by name.</summary>
public static class Architectures
{
    /// <summary>The architectures that run.</summary>
    public static ImmutableArray<Architecture> All { get; } =
    [
        new("bailingmoe2", "Ling 2, Ring 2", BailingMoe2.Build),
        new("deepseek", "DeepSeek LLM MoE 16B", DeepSeek.Build),
        new("deepseek2", "DeepSeek-V2, V3, R1, GLM-4.7-Flash, Kimi K2", DeepSeek2.Build),
        new("dots1", "dots.llm1", Dots1.Build),
        new("ernie4_5", "ERNIE 4.5 0.3B", Ernie45.Build),
        new("ernie4_5-moe", "ERNIE 4.5 21B-A3B, 300B-A47B", Ernie45.Build),
        new("falcon-h1", "Falcon-H1", FalconH1.Build),
        new("gemma2", "Gemma 2", Gemma2.Build),
        new("gemma3", "Gemma 3", Gemma3.Build),
        new("gemma4", "Gemma 4", Gemma4.Build),
        new("glm4moe", "GLM-4.5, GLM-4.5-Air, GLM-4.6", Glm4Moe.Build),
        new("gpt-oss", "gpt-oss 20B and 120B", GptOss.Build),
        new("granite", "Granite 3 and 4", Granite.Build),
        new("granitemoe", "Granite 3 and 4 MoE", Granite.Build),
        new("granitehybrid", "Granite 4.0 H", GraniteHybrid.Build),
        new("jamba", "Jamba", Jamba.Build),
        new("lfm2", "LFM2 350M to 2.6B", Lfm2.Build),
        new("lfm2moe", "LFM2-8B-A1B", Lfm2.Build),
        new("llama", "Llama 1 to 3.3, Mistral 7B, Mixtral, SmolLM, SmolLM2, TinyLlama, DeepSeek-R1-Distill-Llama", Llama.Build),
        new("mamba", "Mamba, Falcon Mamba", Mamba.Build),
        new("mamba2", "Mamba-2, Mamba-Codestral", Mamba.Build),
        new("mistral3", "Ministral 3, Mistral Small 3", Mistral3.Build),
        new("olmoe", "OLMoE", OlMoe.Build),
        new("phi3", "Phi-3, Phi-3.5, Phi-4", Phi3.Build),
        new("phimoe", "Phi-3.5-MoE", PhiMoe.Build),
        new("nemotron_h", "Nemotron-H, Nemotron Nano 2", NemotronH.Build),
        new("nemotron_h_moe", "Nemotron 3 Nano, Super", NemotronH.Build),
        new("phi3", "Phi-3, Phi-3.5, Phi-4", Phi3.Build),
        new("plamo2", "PLaMo 2", Plamo2.Build),
        new("qwen2", "Qwen2, Qwen2.5, DeepSeek-R1-Distill-Qwen", Qwen2.Build),
        new("qwen2moe", "Qwen1.5-MoE, Qwen2-57B-A14B", Qwen2Moe.Build),
        new("qwen3", "Qwen3", Qwen3.Build),
        new("qwen35", "Qwen3.5, Qwen3.6", Qwen35.Build),
        new("qwen35moe", "Qwen3.5-35B-A3B, Qwen3.5-122B-A10B, Qwen3.5-397B-A17B, Qwen3.6-35B-A3B", Qwen35.Build),
        new("qwen3moe", "Qwen3-30B-A3B, Qwen3-235B-A22B, Qwen3-Coder", Qwen3Moe.Build),
        new("smallthinker", "SmallThinker", SmallThinker.Build),
        new("qwen3next", "Qwen3-Next, Qwen3-Coder-Next", Qwen35.Build),
        new("smollm3", "SmolLM3", SmolLm3.Build),
    ];

    /// <summary>Names of the architectures that run.</summary>
    public static ImmutableArray<string> Names { get; } = [.. All.Select(architecture => architecture.Name)];

    /// <summary>The table of README.md: a row an architecture, in Markdown.</summary>
    public static string Markdown =>
        string.Concat(All.Select(architecture => $"| `{architecture.Name}` | {architecture.Models} |\n").Prepend("| architecture | models |\n|---|---|\n"));

    /// <summary>The architecture of a name, or null where none of it runs.</summary>
    /// <param name="name">The value of <c>general.architecture</c>.</param>
    public static Architecture? Find(string name)
    {
        foreach (Architecture architecture in All)
            if (architecture.Name == name) return architecture;
        return null;
    }

    internal static Decoder Build(GgufFile file, ModelReader reader)
    {
        if (Find(reader.Architecture) is { } architecture) return architecture.Build(reader);
        throw file.Metadata.Error("general.architecture", $"architecture '{reader.Architecture}' is not supported; supported: {string.Join(", ", Names)}.");
    }
}
