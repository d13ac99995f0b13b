using Nibble.Core.Compute;
using Nibble.Core.Gguf;
using Nibble.Llm.Models;
using Known = Nibble.Llm.Models.Architectures;

namespace Nibble.Llm.Tests.Architectures;

/// <summary>Whether the goldens see each feature: leaving out a key or an optional tensor of a specimen moves its logits, or the file is refused.</summary>
public class SpecimenAblationTests
{
    private const string NoRope = "without RoPE it adds the same to all scores of a query";
    private const string Long = "the session's context is longer than the original one and chooses the other factors";
    private const string Latent = "latent attention has one KV head, and without absorbed matrices as many as heads";

    // What may be left out without a trace, and why: of all specimens, of those of an architecture, of one, or where a key has a value.
    private static readonly Dictionary<string, string> Exempt = new()
    {
        ["context_length"] = "it is the length of sessions where the caller names none, and the original context where the file names none",
        ["rope.scaling.type longrope"] = "longrope is the tensors rope_factors_*, whatever the type says",
        ["llama.longrope rope_factors_short.weight"] = Long,
        ["phi3 rope_factors_short.weight"] = Long,
        ["phimoe rope_factors_short.weight"] = Long,
        ["qwen2vl attention.layer_norm_rms_epsilon"] = "llama.cpp does not read it, so that it is next to nothing in the specimen",
        ["deepseek2 attention.head_count_kv"] = Latent,
        ["minicpm3 rope_factors_short.weight"] = Long,
        ["llama4 attention.sliding_window"] = "llama.cpp has a window of 8192 positions whatever the file says",
        ["cohere2moe.layer-norm expert_shared_count"] = "where the file gives the shared width, any number but 0 says that there is such a network",
        ["baichuan.alibi attn_k.bias"] = NoRope,
        ["granite.no-rope attn_k.bias"] = NoRope,
        ["granitehybrid.moe attn_k.bias"] = NoRope,
        ["jamba attn_k.bias"] = NoRope,
        ["nemotron_h attn_k.bias"] = NoRope,
        ["nemotron_h_moe attn_k.bias"] = NoRope,
        ["refact attn_k.bias"] = NoRope,
    };

    // Keys that are read alike for every architecture, and that the specimens of some have.
    private static readonly string[] Common =
    [
        "attention.causal", "attention.head_count", "attention.key_length_swa", "attention.value_length_swa", "expert_group_count", "expert_group_used_count", "feed_forward_length",
        "nextn_predict_layers", "rope.dimension_count", "rope.dimension_count_swa", "rope.scale_linear", "rope.scaling.attn_factor", "rope.scaling.factor",
        "rope.scaling.original_context_length", "rope.scaling.type",
    ];

    // Keys that an architecture reads and no specimen has, and why.
    private static readonly Dictionary<string, string> Unused = new()
    {
        ["kimi-linear.expert_weights_norm"] = "read with the experts' other keys, but its weights are always normalized",
        ["nemotron_h.expert_count"] = "such a model with experts is a nemotron_h_moe",
        ["refact.expert_count"] = "experts are refused",
    };

    public static TheoryData<string> Names => [.. Specimens.All.Select(specimen => specimen.Name)];

    public static TheoryData<string> ArchitectureNames => [.. Known.Names];

    [Theory]
    [MemberData(nameof(Names))]
    public void Leaving_out_a_key_moves_the_logits(string name) => Check(name, specimen => specimen.Keys, (specimen, key, backend, whole) =>
    {
        double? without = Distance(() => specimen.LogitsWithoutKey(key, backend), whole);
        // A key that a file must have, or that says what holds without it: another value shows whether it counts.
        return without > SpecimenModel.Moved || Distance(() => specimen.LogitsWithOtherKey(key, backend), whole) is null or > SpecimenModel.Moved;
    });

    [Theory]
    [MemberData(nameof(Names))]
    public void Leaving_out_an_optional_tensor_moves_the_logits(string name) =>
        Check(name, specimen => specimen.OptionalTensors, (specimen, tensor, backend, whole) => Distance(() => specimen.LogitsWithoutTensor(tensor, backend), whole) is null or > SpecimenModel.Moved);

    [Theory]
    [MemberData(nameof(ArchitectureNames))]
    public void A_specimen_has_each_key_that_its_architecture_reads(string architecture)
    {
        SortedSet<string> read = [], present = [.. Common.Select(key => $"{architecture}.{key}"), .. Unused.Keys];
        foreach (Specimen specimen in Specimens.All.Where(specimen => specimen.Architecture == architecture))
        {
            using SpecimenModel model = new(specimen);
            read.UnionWith(model.Model.Keys);
            present.UnionWith(specimen.Metadata.Select(entry => entry.Key));
        }

        Assert.Empty(read.Except(present));
    }

    private static void Check(string name, Func<SpecimenModel, IEnumerable<string>> things, Func<SpecimenModel, string, Backend, float[], bool> counts)
    {
        Specimen described = Specimens.All.Single(specimen => specimen.Name == name);
        using SpecimenModel specimen = new(described);
        using Backend backend = TestModels.Open("cpu-exact", threads: 1);
        using LanguageModel model = specimen.Load(backend);
        float[] whole = SpecimenModel.Logits(model, Specimen.Prompt);
        string[] blind =
        [
            .. from thing in things(specimen)
               where !((string[])[thing, $"{described.Architecture} {thing}", $"{name} {thing}", $"{thing} {described.Value(thing)}"]).Any(Exempt.ContainsKey)
               where !counts(specimen, thing, backend, whole)
               select thing,
        ];
        Assert.Empty(blind);
    }

    /// <summary>How far logits move, or null where the file is refused.</summary>
    private static double? Distance(Func<float[]> logits, float[] whole)
    {
        try
        {
            return SpecimenModel.WorstNmse(logits(), whole, whole.Length / Specimen.Prompt.Length);
        }
        catch (GgufException)
        {
            return null;
        }
    }
}
