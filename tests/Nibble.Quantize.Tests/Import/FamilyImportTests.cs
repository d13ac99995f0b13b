using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using Nibble.Core.Compute;
using Nibble.Core.Gguf;
using Nibble.Quantize.Import;

namespace Nibble.Quantize.Tests.Import;

/// <summary>
/// Every family there and back: a specimen of the architecture (whose logits other tests compare with llama.cpp's) is written as transformers would have it, by the tables in this file, and imported.
/// The tensors are those of the specimen again, and so are the logits, for which all keys must be there.
/// </summary>
public class FamilyImportTests
{
    private static readonly string s_attention = (1.3 * (1 + (0.1 * Math.Log(4)))).ToString("R", CultureInfo.InvariantCulture);

    private static readonly (string Name, Specimen Specimen, string Config)[] s_cases =
    [
        ("llama", Known("llama"), """{"model_type":"llama","rope_scaling":{"type":"linear","factor":2.5},"attention_bias":true,"mlp_bias":true,"tie_word_embeddings":true}"""),
        ("llama, yarn", Known("llama.yarn"), $$$"""{"model_type":"llama","rope_theta":1,"rope_parameters":{"rope_type":"yarn","factor":4,"original_max_position_embeddings":32,"attention_factor":{{{s_attention}}},"rope_theta":500}}"""),
        ("mistral", new("llama", ("rope.dimension_count", null)), """{"model_type":"mistral","sliding_window":4096,"tie_word_embeddings":true}"""),
        ("mixtral", new("llama", ("rope.dimension_count", null), ("expert_count", 8), ("expert_used_count", 2)), """{"model_type":"mixtral","num_local_experts":8,"num_experts_per_tok":2,"tie_word_embeddings":true}"""),
        ("ministral", Known("mistral3"), """{"model_type":"ministral3","tie_word_embeddings":true,"rope_parameters":{"rope_type":"yarn","factor":4,"original_max_position_embeddings":32,"beta_fast":2,"beta_slow":0.5,"mscale":1,"mscale_all_dim":0.7,"llama_4_scaling_beta":0.5,"rope_theta":500}}"""),
        ("qwen2", Known("qwen2"), """{"model_type":"qwen2","head_dim":16,"rope_scaling":{"rope_type":"linear","factor":2.5},"tie_word_embeddings":true,"use_sliding_window":false,"sliding_window":64}"""),
        ("qwen2, untied", Known("qwen2.untied"), """{"model_type":"qwen2","head_dim":null}"""),
        ("qwen3", Known("qwen3"), """{"model_type":"qwen3","rope_scaling":{"rope_type":"yarn","factor":4.0,"original_max_position_embeddings":32},"tie_word_embeddings":true,"attention_bias":true}"""),
        ("gemma2", Known("gemma2.period"), """{"model_type":"gemma2","rms_norm_eps":1,"sliding_window":12,"sliding_window_pattern":3,"hidden_activation":"gelu_pytorch_tanh","partial_rotary_factor":0.6666666666666667}"""),
        ("gemma3", Known("gemma3"), """{"model_type":"gemma3_text","rms_norm_eps":1,"sliding_window":12,"rope_local_base_freq":300,"rope_scaling":{"rope_type":"linear","factor":2.5},"final_logit_softcapping":5,"hidden_activation":"gelu_pytorch_tanh","query_pre_attn_scalar":24,"partial_rotary_factor":0.6666666666666667}"""),
        ("gemma3, seeing", Known("gemma3.pattern"), """
            {"model_type":"gemma3","tie_word_embeddings":false,"text_config":{"model_type":"gemma3_text","rms_norm_eps":1,"sliding_window":12,"hidden_activation":"gelu_pytorch_tanh","partial_rotary_factor":0.6666666666666667,
            "layer_types":["sliding_attention","full_attention","sliding_attention","sliding_attention","full_attention","sliding_attention"],
            "rope_parameters":{"full_attention":{"rope_type":"default","rope_theta":500},"sliding_attention":{"rope_type":"default","rope_theta":10000}}}}
            """),
        ("phi3", Known("phi3"), """{"model_type":"phi3","head_dim":16,"partial_rotary_factor":0.75,"original_max_position_embeddings":32,"rope_scaling":{"type":"longrope","attention_factor":1.2},"tie_word_embeddings":true}"""),
        ("smollm3", Known("smollm3"), """{"model_type":"smollm3","no_rope_layers":[1,1,1,0,1,1],"rope_scaling":{"rope_type":"linear","factor":2.5},"attention_bias":true}"""),
        ("qwen3moe", Known("qwen3moe"), """{"model_type":"qwen3_moe","num_experts":8,"num_experts_per_tok":2,"moe_intermediate_size":40,"norm_topk_prob":true,"decoder_sparse_step":1,"mlp_only_layers":[],"rope_scaling":{"rope_type":"linear","factor":2.5},"tie_word_embeddings":true}"""),
    ];

    public static TheoryData<string, bool> Cases()
    {
        TheoryData<string, bool> data = [];
        foreach ((string name, Specimen specimen, _) in s_cases)
        {
            data.Add(name, false);
            if (specimen.Value("expert_count") is not null) data.Add(name, true);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void A_model_comes_back_with_its_tensors_and_logits(string name, bool hasStackedExperts)
    {
        (_, Specimen specimen, string config) = s_cases.Single(line => line.Name == name);
        using TempFolder temporary = new();
        string original = temporary.File("original.gguf");
        SpecimenFile.Describe(specimen).Write(original, Specimen.Seed);
        using HfFolder folder = new() { Config = JsonNode.Parse(config)!.AsObject() };
        using GgufFile theirs = GgufFile.Open(original);
        Configure(folder, specimen);
        bool isSeeing = folder.Config.ContainsKey("text_config");
        AddTensors(folder, theirs, specimen.Architecture, isSeeing ? "model.language_model." : "model.", hasStackedExperts, name == "mixtral");
        if (isSeeing) folder.Set("model.vision_tower.patch.weight", [2], [1, 2]);
        folder.Write();

        using (ModelImport import = ModelImport.Open(folder.Path))
        {
            Assert.Equal(specimen.Architecture, import.Architecture);
            Assert.Equal(isSeeing, import.Notes.Any(note => note.Contains("vision_tower", StringComparison.Ordinal)));
            import.Write(folder.Output);
        }

        using GgufFile ours = GgufFile.Open(folder.Output);
        Assert.Equal(theirs.Tensors.Select(tensor => tensor.ToString()).Order(StringComparer.Ordinal), ours.Tensors.Select(tensor => tensor.ToString()).Order(StringComparer.Ordinal));
        bool isGemma = specimen.Architecture.StartsWith("gemma", StringComparison.Ordinal);
        foreach (GgufTensor tensor in theirs.Tensors)
            for (long row = 0; row < tensor.RowCount; row++)
            {
                // 1 is taken away from gains and added again, each time rounded.
                float[] a = Values(tensor.Row(row)), b = Values(ours.Find(tensor.Name)!.Row(row));
                for (int i = 0; i < a.Length; i++)
                    Assert.True(isGemma && tensor.Name.Contains("norm", StringComparison.Ordinal) ? Math.Abs(a[i] - b[i]) <= 2.4e-7f : a[i] == b[i], $"{tensor.Name} [{row}, {i}] is {b[i]}, not {a[i]}");
            }

        float[] expected = CheckpointImportTests.Logits(original, Specimen.Prompt, new ReferenceBackend());
        float[] actual = CheckpointImportTests.Logits(folder.Output, Specimen.Prompt, new ReferenceBackend());
        if (isGemma) Assert.InRange(Nmse.Of(actual, expected), 0, 1e-6);
        else Assert.Equal(expected, actual);
    }

    [Fact]
    public void Llama_3s_frequency_factors_are_those_of_its_formula()
    {
        using HfFolder folder = TinyLlama.Folder();
        folder.Config["rope_theta"] = 500000;
        folder.Config["rope_scaling"] = JsonNode.Parse("""{"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4,"original_max_position_embeddings":8192}""");
        folder.Write();
        CheckpointImportTests.Import(folder.Path, folder.Output);
        using GgufFile file = GgufFile.Open(folder.Output);
        // Heads of 8: frequencies 500000^(-i/4) are 1, 0.0376060, 0.00141421, 0.0000531830, waves 6.283, 167.1, 4442.9, 118142.7 positions long. Below 2048 the factor is 1, above 8192 it is 8;
        // between: smooth = (8192 / 4442.883 - 1) / 3 = 0.2812828, and 1 / ((1 - smooth) / 8 + smooth) = 2.694530.
        float[] factors = Values(file.Find("rope_freqs.weight")!.Row(0));
        Assert.Equal(1, factors[0]);
        Assert.Equal(1, factors[1]);
        Assert.Equal(2.694530, factors[2], 1e-5);
        Assert.Equal(8, factors[3]);
    }

    private static Specimen Known(string name) => Specimens.All.Single(specimen => specimen.Name == name);

    private static float[] Values(ReadOnlySpan<byte> row) => MemoryMarshal.Cast<byte, float>(row).ToArray();

    // What all specimens have (Specimen), in transformers' names.
    private static void Configure(HfFolder folder, Specimen specimen)
    {
        JsonObject config = folder.Config["text_config"]?.AsObject() ?? folder.Config;
        (string Name, JsonNode Value)[] common =
        [
            ("hidden_size", 64), ("intermediate_size", 96), ("num_hidden_layers", 6), ("num_attention_heads", 4), ("num_key_value_heads", 2), ("head_dim", 24),
            ("max_position_embeddings", 512), ("vocab_size", 96), ("rms_norm_eps", 0.02), ("rope_theta", 500),
        ];
        foreach ((string name, JsonNode value) in common)
            if (!config.ContainsKey(name)) config[name] = value;
        folder.Config["tie_word_embeddings"] ??= specimen.Architecture is "gemma2" or "gemma3" or "smollm3";
        folder.WriteByteTokenizer(96);
    }

    private static void AddTensors(HfFolder folder, GgufFile file, string architecture, string prefix, bool hasStackedExperts, bool isMixtral)
    {
        bool isGemma = architecture.StartsWith("gemma", StringComparison.Ordinal);
        bool isAdjacent = architecture is "llama" or "mistral3" or "smollm3";
        foreach (GgufTensor tensor in file.Tensors)
        {
            float[] values = new float[tensor.RowCount * tensor.Columns];
            for (long row = 0; row < tensor.RowCount; row++) Values(tensor.Row(row)).CopyTo(values, row * tensor.Columns);
            if (isGemma && tensor.Name.Contains("norm", StringComparison.Ordinal)) values = Array.ConvertAll(values, value => value - 1);
            int heads = tensor.Name.Contains("attn_q.", StringComparison.Ordinal) ? 4 : tensor.Name.Contains("attn_k.", StringComparison.Ordinal) ? 2 : 0;
            if (isAdjacent && heads > 0) values = Halves(values, heads);
            long[] shape = [.. tensor.Dimensions.Reverse()];
            string[] parts = tensor.Name.Split('.');
            switch (parts)
            {
                case ["token_embd", _]: folder.Set(prefix + "embed_tokens.weight", shape, values); break;
                case ["output_norm", _]: folder.Set(prefix + "norm.weight", shape, values); break;
                case ["output", var kind]: folder.Set("lm_head." + kind, shape, values); break;
                case ["rope_factors_long", _]: folder.Config["rope_scaling"]!["long_factor"] = JsonNode.Parse($"[{string.Join(",", values.Select(value => value.ToString("R", CultureInfo.InvariantCulture)))}]"); break;
                case ["rope_factors_short", _]: folder.Config["rope_scaling"]!["short_factor"] = JsonNode.Parse($"[{string.Join(",", values.Select(value => value.ToString("R", CultureInfo.InvariantCulture)))}]"); break;
                case ["blk", var layer, "ffn_gate_exps" or "ffn_up_exps" or "ffn_down_exps", _]:
                    if (hasStackedExperts) AddStacked(folder, $"{prefix}layers.{layer}.mlp.experts.", parts[2], shape, values);
                    else AddExperts(folder, $"{prefix}layers.{layer}.", parts[2], shape, values, isMixtral);
                    break;
                case ["blk", var layer, var part, var kind]:
                    string name = part switch
                    {
                        "attn_norm" => "input_layernorm",
                        "attn_q" => "self_attn.q_proj",
                        "attn_k" => "self_attn.k_proj",
                        "attn_v" => "self_attn.v_proj",
                        "attn_qkv" => "self_attn.qkv_proj",
                        "attn_output" => "self_attn.o_proj",
                        "attn_q_norm" => "self_attn.q_norm",
                        "attn_k_norm" => "self_attn.k_norm",
                        "ffn_norm" => isGemma ? "pre_feedforward_layernorm" : "post_attention_layernorm",
                        "post_attention_norm" => "post_attention_layernorm",
                        "post_ffw_norm" => "post_feedforward_layernorm",
                        "ffn_gate" => "mlp.gate_proj",
                        "ffn_up" => architecture == "phi3" ? "mlp.gate_up_proj" : "mlp.up_proj",
                        "ffn_down" => "mlp.down_proj",
                        "ffn_gate_inp" => isMixtral && !hasStackedExperts ? "block_sparse_moe.gate" : "mlp.gate",
                        _ => throw new InvalidOperationException($"The test does not know {tensor.Name}."),
                    };
                    folder.Set($"{prefix}layers.{layer}.{name}.{kind}", shape, values);
                    break;
                default:
                    throw new InvalidOperationException($"The test does not know {tensor.Name}.");
            }
        }
    }

    // The first of each pair of neighbours into the first half of a head, the second into the second half.
    private static float[] Halves(float[] values, int heads)
    {
        const int Size = 24;
        int columns = values.Length / heads / Size;
        float[] halves = new float[values.Length];
        for (int head = 0; head < heads; head++)
            for (int pair = 0; pair < Size / 2; pair++)
                for (int second = 0; second < 2; second++)
                    Array.Copy(values, ((head * Size) + (2 * pair) + second) * columns, halves, ((head * Size) + (second * Size / 2) + pair) * columns, columns);
        return halves;
    }

    private static void AddExperts(HfFolder folder, string layer, string part, long[] shape, float[] values, bool isMixtral)
    {
        int size = (int)(shape[1] * shape[2]);
        for (int i = 0; i < shape[0]; i++)
        {
            string name = (isMixtral, part) switch
            {
                (true, "ffn_gate_exps") => $"block_sparse_moe.experts.{i}.w1",
                (true, "ffn_up_exps") => $"block_sparse_moe.experts.{i}.w3",
                (true, _) => $"block_sparse_moe.experts.{i}.w2",
                (false, "ffn_gate_exps") => $"mlp.experts.{i}.gate_proj",
                (false, "ffn_up_exps") => $"mlp.experts.{i}.up_proj",
                (false, _) => $"mlp.experts.{i}.down_proj",
            };
            folder.Set($"{layer}{name}.weight", shape[1..], values.AsSpan(i * size, size).ToArray());
        }
    }

    private static void AddStacked(HfFolder folder, string experts, string part, long[] shape, float[] values)
    {
        if (part == "ffn_down_exps")
        {
            folder.Set(experts + "down_proj", shape, values);
            return;
        }

        // Gate above up, expert by expert.
        int size = (int)(shape[1] * shape[2]);
        string name = experts + "gate_up_proj";
        float[] both = folder.Tensors.TryGetValue(name, out HfFolder.Tensor? known) ? Values(known.Bytes) : new float[2 * values.Length];
        for (int i = 0; i < shape[0]; i++) Array.Copy(values, i * size, both, ((2 * i) + (part == "ffn_up_exps" ? 1 : 0)) * size, size);
        folder.Set(name, [shape[0], 2 * shape[1], shape[2]], both);
    }
}
