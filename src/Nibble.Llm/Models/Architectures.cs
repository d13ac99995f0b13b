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
        new("afmoe", "Trinity Nano, Mini and Large", AfMoe.Build),
        new("arcee", "Arcee AFM 4.5B", Arcee.Build),
        new("arctic", "Snowflake Arctic", Arctic.Build),
        new("baichuan", "Baichuan 1 and 2", Baichuan.Build),
        new("bailingmoe", "Ling Lite and Plus", DeepSeek.Build),
        new("bailingmoe2", "Ling 2, Ring 2", BailingMoe2.Build),
        new("bitnet", "BitNet b1.58", BitNet.Build),
        new("bloom", "BLOOM, BLOOMZ", Bloom.Build),
        new("chatglm", "ChatGLM3, GLM-4 9B, GLM-Edge", ChatGlm.Build),
        new("codeshell", "CodeShell", StarCoder2.Build),
        new("cogvlm", "CogVLM, text only", CogVlm.Build),
        new("cohere2", "Command R7B, Command A", Cohere2.Build),
        new("cohere2moe", "Command models with experts", Cohere2Moe.Build),
        new("command-r", "Command R, Command R+, Aya 23, Aya Expanse", CommandR.Build),
        new("dbrx", "DBRX", Dbrx.Build),
        new("deci", "Llama-3.1-Nemotron 51B and Ultra 253B, Llama-3.3-Nemotron-Super 49B", Deci.Build),
        new("deepseek", "DeepSeek LLM MoE 16B", DeepSeek.Build),
        new("deepseek2", "DeepSeek-V2, V3 and R1, Kimi K2, GLM-4.7-Flash, GigaChat 3", DeepSeek2.Build),
        new("dots1", "dots.llm1", Dots1.Build),
        new("ernie4_5", "ERNIE 4.5 0.3B", Ernie45.Build),
        new("ernie4_5-moe", "ERNIE 4.5 21B-A3B, 300B-A47B", Ernie45.Build),
        new("exaone", "EXAONE 3, 3.5 and Deep", Exaone.Build),
        new("exaone-moe", "K-EXAONE 236B-A23B", ExaoneMoe.Build),
        new("exaone4", "EXAONE 4", Exaone4.Build),
        new("falcon", "Falcon 7B, 40B and 180B, Falcon 2", Falcon.Build),
        new("falcon-h1", "Falcon-H1", FalconH1.Build),
        new("gemma", "Gemma 1, CodeGemma", Gemma.Build),
        new("gemma2", "Gemma 2", Gemma2.Build),
        new("gemma3", "Gemma 3", Gemma3.Build),
        new("gemma4", "Gemma 4", Gemma4.Build),
        new("glm4", "GLM-4-0414 9B and 32B, GLM-Z1", Glm4.Build),
        new("glm4moe", "GLM-4.5, GLM-4.5-Air, GLM-4.6, GLM-4.7", Glm4Moe.Build),
        new("gpt-oss", "gpt-oss 20B and 120B", GptOss.Build),
        new("gpt2", "GPT-2, Cerebras-GPT", Gpt2.Build),
        new("gptneox", "GPT-NeoX 20B, Pythia, Dolly 2, RedPajama-INCITE", GptNeoX.Build),
        new("granite", "Granite 3 and 4", Granite.Build),
        new("granite_swa", "Granite with sliding windows", GraniteSwa.Build),
        new("granitehybrid", "Granite 4.0 H", GraniteHybrid.Build),
        new("granitemoe", "Granite 3 and 4 MoE", Granite.Build),
        new("grok", "Grok-1, Grok-2", Grok.Build),
        new("hunyuan-dense", "Hunyuan 0.5B to 7B", Hunyuan.Build),
        new("hunyuan-moe", "Hunyuan-A13B", HunyuanMoe.Build),
        new("hunyuan_vl", "HunyuanOCR, text only", Hunyuan.Build),
        new("hy_v3", "Hunyuan 3", HyV3.Build),
        new("internlm2", "InternLM2, InternLM2.5", InternLm2.Build),
        new("jais", "Jais 13B and 30B", Jais.Build),
        new("jais2", "Jais 2", Jais2.Build),
        new("jamba", "Jamba", Jamba.Build),
        new("kimi-linear", "Kimi Linear 48B-A3B", KimiLinear.Build),
        new("laguna", "Laguna", Laguna.Build),
        new("lfm2", "LFM2 350M to 2.6B", Lfm2.Build),
        new("lfm2moe", "LFM2-8B-A1B", Lfm2.Build),
        new("llama", "Llama 1 to 3.3, Mistral 7B, Mixtral, SmolLM, SmolLM2, TinyLlama, DeepSeek-R1-Distill-Llama", Llama.Build),
        new("llama4", "Llama 4 Scout and Maverick", Llama4.Build),
        new("maincoder", "Maincoder 1B", MainCoder.Build),
        new("mamba", "Mamba, Falcon Mamba", Mamba.Build),
        new("mamba2", "Mamba-2, Mamba-Codestral", Mamba.Build),
        new("mellum", "Mellum with experts", Mellum.Build),
        new("mimo2", "MiMo-V2-Flash", Mimo2.Build),
        new("minicpm", "MiniCPM 1 and 2, MiniCPM4", MiniCpm.Build),
        new("minicpm3", "MiniCPM3 4B", MiniCpm3.Build),
        new("minimax-m2", "MiniMax-M2", MiniMaxM2.Build),
        new("mistral3", "Ministral 3, Mistral Small 3", Mistral3.Build),
        new("mistral4", "Mistral Small 4", DeepSeek2.Build),
        new("mpt", "MPT 7B and 30B", Mpt.Build),
        new("muse-glimmer", "Muse Glimmer", MuseGlimmer.Build),
        new("nanbeige", "Nanbeige", Nanbeige.Build),
        new("nemotron", "Nemotron 3 8B and 4 15B, Minitron", Nemotron.Build),
        new("nemotron_h", "Nemotron-H, Nemotron Nano 2", NemotronH.Build),
        new("nemotron_h_moe", "Nemotron 3 Nano, Super", NemotronH.Build),
        new("olmo", "OLMo 1", Olmo.Build),
        new("olmo2", "OLMo 2 and 3", Olmo2.Build),
        new("olmoe", "OLMoE", OlMoe.Build),
        new("openelm", "OpenELM", OpenElm.Build),
        new("orion", "Orion 14B", Orion.Build),
        new("paddleocr", "PaddleOCR-VL, text only", Ernie45.Build),
        new("pangu-embedded", "openPangu Embedded 1B and 7B", PanguEmbedded.Build),
        new("phi2", "Phi-1, Phi-1.5, Phi-2", Phi2.Build),
        new("phi3", "Phi-3, Phi-3.5, Phi-4", Phi3.Build),
        new("phimoe", "Phi-3.5-MoE", PhiMoe.Build),
        new("plamo", "PLaMo 13B", Plamo.Build),
        new("plamo2", "PLaMo 2", Plamo2.Build),
        new("plamo3", "PLaMo 3", Plamo3.Build),
        new("qwen", "Qwen 1, first generation", Qwen.Build),
        new("qwen2", "Qwen2, Qwen2.5, DeepSeek-R1-Distill-Qwen", Qwen2.Build),
        new("qwen2moe", "Qwen1.5-MoE, Qwen2-57B-A14B", Qwen2Moe.Build),
        new("qwen2vl", "Qwen2-VL and Qwen2.5-VL, text only", Qwen2Vl.Build),
        new("qwen3", "Qwen3", Qwen3.Build),
        new("qwen35", "Qwen3.5, Qwen3.6", Qwen35.Build),
        new("qwen35moe", "Qwen3.5-35B-A3B, Qwen3.5-122B-A10B, Qwen3.5-397B-A17B, Qwen3.6-35B-A3B", Qwen35.Build),
        new("qwen3moe", "Qwen3-30B-A3B, Qwen3-235B-A22B, Qwen3-Coder", Qwen3Moe.Build),
        new("qwen3next", "Qwen3-Next, Qwen3-Coder-Next", Qwen35.Build),
        new("qwen3vl", "Qwen3-VL, text only", Qwen3Vl.Build),
        new("qwen3vlmoe", "Qwen3-VL with experts, text only", Qwen3VlMoe.Build),
        new("refact", "Refact 1.6B", Refact.Build),
        new("seed_oss", "Seed-OSS 36B", SeedOss.Build),
        new("smallthinker", "SmallThinker", SmallThinker.Build),
        new("smollm3", "SmolLM3", SmolLm3.Build),
        new("spark2_5", "Spark 2.5", Spark25.Build),
        new("stablelm", "StableLM 3B, StableLM 2 1.6B and 12B, Stable Code", StableLm.Build),
        new("starcoder", "StarCoder, SantaCoder", Gpt2.Build),
        new("starcoder2", "StarCoder2", StarCoder2.Build),
        new("xverse", "XVERSE 7B, 13B and 65B", InternLm2.Build),
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
        throw file.Metadata.Error("general.architecture", $"architecture '{reader.Architecture}' is not supported; 'nibble architectures' lists the {All.Length} that are.");
    }
}
