using Nibble.Core.Gguf;

namespace Nibble.Quantize.Import;

/// <summary>The families that are imported.</summary>
internal static class ModelFamilies
{
    private static readonly ModelFamily[] s_lines =
    [
        new() { ModelTypes = ["llama"], Architecture = "llama", HasAdjacentRope = true },
        new() { ModelTypes = ["mistral"], Architecture = "llama", HasAdjacentRope = true, Keys = MistralKeys, Defaults = new Dictionary<string, int> { ["num_key_value_heads"] = 8 } },
        new() { ModelTypes = ["ministral3"], Architecture = "mistral3", HasAdjacentRope = true, HasYarnNumbers = true, Keys = Mistral3Keys },
        new()
        {
            ModelTypes = ["mixtral"],
            Architecture = "llama",
            HasAdjacentRope = true,
            RopeBase = 1e6,
            Keys = MistralKeys,
            Experts = new ExpertNames("block_sparse_moe.gate", "block_sparse_moe.experts", "w1", "w3", "w2"),
            Defaults = new Dictionary<string, int> { ["num_key_value_heads"] = 8 },
        },
        new() { ModelTypes = ["qwen2"], Architecture = "qwen2", NeedsQueryKeyValueBias = true, Keys = RefuseWindow },
        new() { ModelTypes = ["qwen3"], Architecture = "qwen3", HasHeadNorms = true, Keys = RefuseWindow, Defaults = new Dictionary<string, int> { ["head_dim"] = 128 } },
        new()
        {
            ModelTypes = ["qwen3_moe"],
            Architecture = "qwen3moe",
            HasHeadNorms = true,
            Keys = Qwen3MoeKeys,
            Experts = new ExpertNames("mlp.gate", "mlp.experts", "gate_proj", "up_proj", "down_proj"),
        },
        new()
        {
            ModelTypes = ["gemma2"],
            Architecture = "gemma2",
            AddsOneToNorms = true,
            HasPostNorms = true,
            IsAlwaysTied = true,
            IsTiedByDefault = true,
            Activations = ["gelu_pytorch_tanh"],
            Keys = Gemma2Keys,
            Defaults = new Dictionary<string, int> { ["head_dim"] = 256, ["max_position_embeddings"] = 8192, ["vocab_size"] = 256000 },
        },
        new()
        {
            ModelTypes = ["gemma3_text"],
            Architecture = "gemma3",
            AddsOneToNorms = true,
            HasPostNorms = true,
            HasHeadNorms = true,
            IsTiedByDefault = true,
            RopeBase = 1e6,
            Activations = ["gelu_pytorch_tanh"],
            Keys = Gemma3Keys,
            Defaults = new Dictionary<string, int>
            {
                ["num_attention_heads"] = 8, ["num_key_value_heads"] = 4, ["head_dim"] = 256, ["max_position_embeddings"] = 131072, ["vocab_size"] = 262208,
            },
        },
        new() { ModelTypes = ["phi3"], Architecture = "phi3", IsFused = true, NormEpsilon = 1e-5, Keys = Phi3Keys },
        new()
        {
            ModelTypes = ["smollm3"],
            Architecture = "smollm3",
            HasAdjacentRope = true,
            IsTiedByDefault = true,
            RopeBase = 2e6,
            Keys = SmolLm3Keys,
            Defaults = new Dictionary<string, int> { ["num_key_value_heads"] = 4, ["max_position_embeddings"] = 32768, ["vocab_size"] = 128256 },
        },
    ];

    /// <summary>The values of <c>model_type</c> that are imported.</summary>
    public static IEnumerable<string> ModelTypes => s_lines.SelectMany(family => family.ModelTypes);

    /// <summary>The family of a folder, and the language model's part of its configuration.</summary>
    /// <exception cref="ImportException">It is none of those that are imported.</exception>
    public static (ModelFamily Family, JsonFields Config) Of(JsonFields config)
    {
        string type = config.Text("model_type");
        // Models that see have the language model's part in an object of its own.
        JsonFields text = config.FindObject("text_config") ?? config;
        string textType = text.FindText("model_type") ?? type;
        ModelFamily? family = Array.Find(s_lines, line => line.ModelTypes.Contains(textType)) ?? Array.Find(s_lines, line => line.ModelTypes.Contains(type));
        return (family ?? throw config.Error("model_type", $"one of {string.Join(", ", ModelTypes.Order(StringComparer.Ordinal))} is needed"), text);
    }

    private static void MistralKeys(ImportPlan plan, JsonFields config, ModelShape shape)
    {
        // llama.cpp's llama has no window; within its length there is no difference.
        if (config.FindInteger("sliding_window", 0, int.MaxValue) is > 0 and int window && window < shape.Context)
            plan.Note($"sliding_window is {window}: architecture {plan.Architecture} has none in GGUF, so results differ from position {window} on.");
    }

    private static void Mistral3Keys(ImportPlan plan, JsonFields config, ModelShape shape)
    {
        MistralKeys(plan, config, shape);
        JsonFields rope = config.FindObject("rope_parameters") ?? config.Object("rope_scaling");
        // The magnitude is that of mscale divided by that of mscale_all_dim; GGUF has the second only.
        if (rope.Has("mscale_all_dim") && rope.Number("mscale", 0) != 1) throw rope.Error("mscale", "GGUF's mistral3 takes 1 for granted");
        if (rope.Has("mscale_all_dim")) plan.Set("rope.scaling.yarn_log_multiplier", (float)rope.Number("mscale_all_dim"));
        if (rope.Has("llama_4_scaling_beta")) plan.Set("attention.temperature_scale", (float)rope.Number("llama_4_scaling_beta"));
    }

    private static void RefuseWindow(ImportPlan plan, JsonFields config, ModelShape shape)
    {
        bool isUsed = config.Flag("use_sliding_window", false) && config.FindInteger("sliding_window", 0, int.MaxValue) is > 0;
        if (isUsed) throw config.Error("use_sliding_window", $"architecture {plan.Architecture} has no sliding window in GGUF; false is needed");
    }

    private static void Qwen3MoeKeys(ImportPlan plan, JsonFields config, ModelShape shape)
    {
        RefuseWindow(plan, config, shape);
        if (config.Elements("mlp_only_layers").Any()) throw config.Error("mlp_only_layers", "GGUF's qwen3moe has experts in every layer; an empty array is needed");
        if (config.Integer("decoder_sparse_step", 0, 1024, 1) != 1) throw config.Error("decoder_sparse_step", "GGUF's qwen3moe has experts in every layer; 1 is needed");
        if (!config.Flag("norm_topk_prob", false)) throw config.Error("norm_topk_prob", "GGUF's qwen3moe divides the experts' weights by their sum; true is needed");
        plan.Set("expert_feed_forward_length", (uint)config.Integer("moe_intermediate_size", 1, 1 << 24));
    }

    private static void GemmaScale(JsonFields config, ModelShape shape, int scaledByWidth)
    {
        // The scale of queries is no key: architectures know the one large model that has another.
        int head = shape.Layers == scaledByWidth ? shape.Width / shape.Heads : shape.HeadSize;
        if (config.Has("query_pre_attn_scalar") && config.Number("query_pre_attn_scalar") != head)
            throw config.Error("query_pre_attn_scalar", $"GGUF takes {head} for granted here");
    }

    private static void Gemma2Keys(ImportPlan plan, JsonFields config, ModelShape shape)
    {
        GemmaScale(config, shape, scaledByWidth: 46);
        plan.Set("attn_logit_softcapping", (float)config.Positive("attn_logit_softcapping", 50));
        plan.Set("final_logit_softcapping", (float)config.Positive("final_logit_softcapping", 30));
        plan.Set("attention.sliding_window", (uint)config.Integer("sliding_window", 1, int.MaxValue, 4096));
        Pattern(plan, config, shape, usual: 2);
    }

    private static void Gemma3Keys(ImportPlan plan, JsonFields config, ModelShape shape)
    {
        GemmaScale(config, shape, scaledByWidth: 62);
        if (config.Has("attn_logit_softcapping")) throw config.Error("attn_logit_softcapping", "GGUF's gemma3 caps no scores; null is needed");
        if (config.Has("final_logit_softcapping")) plan.Set("final_logit_softcapping", (float)config.Positive("final_logit_softcapping"));
        if (config.FindInteger("sliding_window_pattern", 0, 1024) == 1) return;
        plan.Set("attention.sliding_window", (uint)config.Integer("sliding_window", 1, int.MaxValue, 4096));
        Pattern(plan, config, shape, usual: 6);
    }

    // Which layers slide: a list of names (transformers 4.53 and later), or a period; the usual one needs no key.
    private static void Pattern(ImportPlan plan, JsonFields config, ModelShape shape, int usual)
    {
        if (config.Has("layer_types"))
        {
            string[] types = [.. config.Texts("layer_types")];
            if (types.Length != shape.Layers) throw config.Error("layer_types", $"one for each of the {shape.Layers} layers is needed");
            if (types.Any(type => type is not ("sliding_attention" or "full_attention"))) throw config.Error("layer_types", "sliding_attention and full_attention are possible");
            bool[] slides = [.. types.Select(type => type == "sliding_attention")];
            bool isUsual = Enumerable.Range(0, shape.Layers).All(i => slides[i] == (i % usual < usual - 1));
            if (!isUsual) plan.Set("attention.sliding_window_pattern", GgufValue.Array(slides));
        }
        else if (config.FindInteger("sliding_window_pattern", 1, 1024) is { } period && period != usual)
        {
            plan.Set("attention.sliding_window_pattern", (uint)period);
        }
    }

    private static void Phi3Keys(ImportPlan plan, JsonFields config, ModelShape shape)
    {
        // Runtimes read the key and leave the window out (llama.cpp's pull request 13676), which changes results beyond it.
        int window = config.FindInteger("sliding_window", 0, int.MaxValue) ?? 0;
        plan.Set("attention.sliding_window", (uint)window);
        if (window > 0 && window < shape.Context) plan.Note($"sliding_window is {window}: runtimes of GGUF's phi3 do not use it, so results may differ from position {window} on.");
    }

    private static void SmolLm3Keys(ImportPlan plan, JsonFields config, ModelShape shape)
    {
        if (config.Flag("use_sliding_window", false)) throw config.Error("use_sliding_window", "GGUF's smollm3 has no sliding window; false is needed");
        // Which layers turn is no key: every fourth does not. 1 stands for a layer that turns.
        if (config.Has("no_rope_layers"))
        {
            int i = 0;
            foreach (System.Text.Json.JsonElement layer in config.Elements("no_rope_layers"))
            {
                int expected = (i + 1) % 4 == 0 ? 0 : 1;
                if (layer.ValueKind != System.Text.Json.JsonValueKind.Number || layer.GetDouble() != expected)
                    throw config.Error("no_rope_layers", "GGUF's smollm3 takes for granted that every fourth layer is without RoPE (0) and the others have it (1)");
                i++;
            }

            if (i != shape.Layers) throw config.Error("no_rope_layers", $"one number for each of the {shape.Layers} layers is needed");
        }
        else if (config.Integer("no_rope_layer_interval", 1, 1024, 4) != 4)
        {
            throw config.Error("no_rope_layer_interval", "GGUF's smollm3 takes 4 for granted");
        }
    }
}
