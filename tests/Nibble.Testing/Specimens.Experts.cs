using Nibble.Core.Gguf;

namespace Nibble.Testing;

/// <summary>Architectures whose layers are attention and experts.</summary>
public static partial class Specimens
{
    private static Specimen[] Experts =>
    [
        new("afmoe",
            [
                .. WideNorm, .. Windowed, .. Weighed, .. LeadingDense, ("expert_gating_func", 1), ("expert_shared_count", 2), ("rope.freq_base", null), ("rope.freq_base_swa", 300f),
                ("rope.scaling.factor", 2.5f),
            ]),
        new("afmoe", [.. WideNorm, .. Windowed, ("attention.sliding_window_pattern", Layers(1, 0, 1, 1, 0, 1)), .. TwoOfEight, .. LeadingDense, ("expert_shared_count", 0)])
            { Variant = "pattern", With = ["output.weight"] },
        new("arctic", [.. EvenHeads, .. WholeRope, .. TwoOfEight, ("rope.scaling.factor", 2.5f)]),
        new("bailingmoe", [.. EvenHeads, .. WholeRope, .. Weighed, ("expert_feed_forward_length", 40), ("feed_forward_length", null), ("expert_shared_count", 2), ("rope.scaling.factor", 2.5f)]),
        new("bailingmoe2", [.. EvenHeads, ("rope.dimension_count", 12), .. Grouped, ("expert_shared_count", 2), ("expert_shared_feed_forward_length", 24), ("rope.scaling.factor", 2.5f)]) { With = ["attn_qkv.weight"] },
        new("cohere2moe",
            [
                .. WholeRope, .. Windowed, .. Weighed, .. LeadingDense, ("logit_scale", 0.3f), ("expert_gating_func", 1), ("expert_shared_count", 2), ("rope.freq_base_swa", 300f), ("rope.scaling.factor", 2.5f),
            ]),
        new("cohere2moe",
            [
                .. WholeRope, .. Windowed, ("attention.sliding_window_pattern", Layers(1, 0, 1, 1, 0, 1)), .. TwoOfEight, .. LeadingDense, ("logit_scale", 0.3f), ("expert_shared_count", 1),
                ("expert_shared_feed_forward_length", 56), ("attention.layer_norm_rms_epsilon", null),
            ])
            { Variant = "layer-norm", With = [".scale", "output.weight"] },
        new("dbrx", [.. EvenHeads, .. WholeRope, .. TwoOfEight, ("attention.clamp_kqv", 1.5f), ("rope.scaling.factor", 2.5f)]) { With = ["attn_qkv.weight"] },
        new("deepseek", [.. EvenHeads, .. WholeRope, .. TwoOfEight, .. LeadingDense, ("expert_shared_count", 2), ("expert_weights_scale", 1.7f), ("rope.scaling.factor", 2.5f)]),
        new("deepseek2",
            [
                .. Latent, .. Yarn, .. Grouped, ("rope.dimension_count", 8), ("rope.scaling.yarn_log_multiplier", 0.07f), ("attention.q_lora_rank", 40), ("attention.key_length", 40),
                ("attention.value_length", 32), ("attention.key_length_mla", 24), ("attention.value_length_mla", 20), ("attention.temperature_scale", 0.5f), ("attention.temperature_length", 24),
                ("expert_shared_count", 2),
            ])
            { Without = ["attn_q."] },
        new("deepseek2", [.. Unabsorbed, ("attention.q_lora_rank", 40), ("rope.scaling.factor", 2.5f)]) { Variant = "unabsorbed", With = ["output.weight"], Without = ["attn_q."] },
        new("deepseek2", [.. Unabsorbed, ("block_count", 27)]) { Variant = "lite" },
        new("dots1", [("attention.head_count_kv", 4), .. WholeRope, .. Grouped, ("expert_shared_count", 2), ("rope.scaling.factor", 2.5f)]),
        new("ernie4_5", [.. WholeRope, ("rope.scaling.factor", 2.5f)]),
        new("ernie4_5-moe",
            [.. WholeRope, .. TwoOfEight, .. LeadingDense, ("interleave_moe_layer_step", 1), ("expert_shared_feed_forward_length", 56), ("rope.scaling.factor", 2.5f)]),
        new("exaone-moe",
            [
                .. WholeRope, .. Windowed, .. Weighed, .. LeadingDense, ("expert_gating_func", 2), ("expert_shared_count", 1), ("expert_shared_feed_forward_length", 56), ("rope.scaling.factor", 2.5f),
            ]),
        new("exaone-moe",
            [.. WholeRope, .. Windowed, ("attention.sliding_window_pattern", Layers(1, 0, 1, 1, 0, 1)), .. TwoOfEight, .. LeadingDense, ("expert_gating_func", 1), ("expert_shared_count", 1)])
            { Variant = "pattern" },
        new("glm4moe", [.. Grouped, ("expert_shared_count", 2), ("rope.scaling.factor", 2.5f)]),
        new("glm4moe", [.. TwoOfEight, .. LeadingDense, ("expert_shared_count", 1), ("rope.dimension_sections", Layers(3, 2, 1, 2))])
            { Variant = "sections", Without = ["attn_q_norm", "attn_k_norm"], With = ["output.weight"] },
        new("gemma4",
            [
                .. WideNorm, .. Windowed, ("attention.sliding_window_pattern", Layers(1, 0, 1, 1, 0, 1)), ("attention.key_length_swa", 16), ("attention.value_length_swa", 16), .. WholeRope,
                ("rope.dimension_count_swa", 8), ("rope.freq_base_swa", 300f), ("embedding_length_per_layer_input", 0), .. TwoOfEight, ("expert_feed_forward_length", 40),
            ])
            { Variant = "moe", With = ["rope_freqs", "ffn_gate_up_exps.weight"], Without = ["attn_v."] },
        new("gpt-oss", [.. WholeRope, ("rope.dimension_count", 24), .. Yarn, .. Windowed, ("rope.freq_base_swa", 300f), .. TwoOfEight, .. OwnWidth]),
        new("gpt-oss", [.. WholeRope, ("rope.dimension_count", 24), .. Windowed, ("attention.sliding_window_pattern", 3), .. TwoOfEight, .. OwnWidth]) { Variant = "period" },
        new("granite",
            [
                .. WideNorm, .. WholeRope, ("embedding_scale", 3f), ("residual_scale", 0.6f), ("logit_scale", 4f), ("attention.scale", 0.4f), .. TwoOfEight,
                ("expert_shared_feed_forward_length", 40),
            ])
            { Variant = "moe" },
        new("granite_swa",
            [
                .. WideNorm, .. WholeRope, .. Windowed, ("attention.sliding_window_pattern", Layers(0, 1, 1, 0, 1, 1)), ("logit_scale", 4f), .. TwoOfEight, ("expert_shared_feed_forward_length", 40),
            ])
            { Variant = "moe", With = ["output.weight"] },
        new("granitemoe",
            [
                .. WideNorm, .. WholeRope, ("embedding_scale", 3f), ("residual_scale", 0.6f), ("logit_scale", 4f), ("attention.scale", 0.4f), .. TwoOfEight,
                ("expert_shared_feed_forward_length", 40), ("rope.scaling.factor", 2.5f),
            ]),
        new("grok",
            [
                .. EvenHeads, .. WideNorm, .. WholeRope, .. Yarn, .. TwoOfEight, ("expert_feed_forward_length", 40), ("embedding_scale", 3f), ("logit_scale", 0.7f),
                ("attention.output_scale", 0.4f), ("attn_logit_softcapping", 3f), ("final_logit_softcapping", 5f), ("rope.scaling.yarn_ext_factor", 0.7f), ("rope.scaling.yarn_beta_fast", 2f),
                ("rope.scaling.yarn_beta_slow", 0.3f),
            ]),
        new("grok", [.. EvenHeads, .. WideNorm, .. WholeRope, ("embedding_scale", 3f), .. TwoOfEight, ("rope.scaling.yarn_attn_factor", 1.2f)])
            { Variant = "plain", Without = ["ffn_up.weight", "layer_output_norm"], With = ["output.weight"] },
        new("hunyuan-moe", [.. WholeRope, .. TwoOfEight, ("expert_feed_forward_length", 96), ("expert_shared_feed_forward_length", 56), ("rope.scaling.factor", 2.5f)]),
        new("hunyuan-moe", [.. WholeRope, .. TwoOfEight, ("expert_feed_forward_length", 96)]) { Variant = "shared-width", With = ["output.weight"] },
        new("hy_v3",
            [.. WholeRope, .. Weighed, ("expert_feed_forward_length", 40), ("expert_gating_func", 1), ("expert_shared_feed_forward_length", 56), ("rope.scaling.factor", 2.5f)])
            { Without = ["blk.0.ffn_gate_inp"] },
        new("hy_v3", [.. WholeRope, .. TwoOfEight, .. OwnWidth]) { Variant = "plain", Without = ["exp_probs_b"], With = [".scale", "output.weight"] },
        new("laguna",
            [
                .. Windowed, .. Yarn, .. Weighed, .. LeadingDense, ("attention.head_count", Layers(4, 6, 4, 6, 4, 6)), ("rope.dimension_count_swa", 8), ("rope.freq_base_swa", 300f),
                ("expert_gating_func", 1), ("expert_shared_count", 2),
            ])
            { Shapes = [("blk.0.attn_gate", 4), ("blk.1.attn_gate", 6), ("blk.2.attn_gate", 4), ("blk.3.attn_gate", 6), ("blk.4.attn_gate", 4), ("blk.5.attn_gate", 6)] },
        new("laguna", [.. TwoOfEight, .. LeadingDense, ("expert_shared_feed_forward_length", 56)]) { Variant = "full", With = ["output.weight"] },
        new("laguna", [.. Windowed, ("attention.sliding_window_pattern", Layers(1, 0, 1, 1, 0, 1)), .. TwoOfEight, .. LeadingDense]) { Variant = "pattern" },
        new("llama4",
            [
                .. WholeRope, .. TwoOfEight, ("attention.sliding_window", 8192), ("interleave_moe_layer_step", 2), ("expert_feed_forward_length", 40), ("rope.freq_base", null),
                ("rope.freq_base_swa", 300f), ("rope.scaling.factor", 2.5f),
            ])
            { With = ["rope_freqs"] },
        new("llama4",
            [.. WholeRope, .. TwoOfEight, ("attention.sliding_window_pattern", Layers(1, 0, 1, 1, 0, 1)), ("interleave_moe_layer_step", 3), ("expert_feed_forward_length", 40), ("rope.freq_base_swa", 300f)])
            { Variant = "pattern", With = ["output.weight"] },
        new("llama", [.. WholeRope, .. TwoOfEight]) { Variant = "moe", With = ["rope_freqs"] },
        new("llama", [.. WholeRope, .. TwoOfEight]) { Variant = "moe-scaled", With = [".scale"] },
        new("mellum", [.. WholeRope, .. Windowed, .. Yarn, .. TwoOfEight, .. OwnWidth, ("rope.scaling.attn_factor", 1.2f)]),
        new("mellum", [.. WholeRope, .. Windowed, ("attention.sliding_window_pattern", Layers(1, 0, 1, 1, 0, 1)), .. TwoOfEight, .. OwnWidth]) { Variant = "pattern", With = [".scale"] },
        new("mimo2",
            [
                .. Windowed, ("attention.sliding_window_pattern", Layers(1, 0, 1, 1, 0, 1)), .. TwoOfEight, ("expert_feed_forward_length", 40), ("attention.head_count_kv", Layers(2, 1, 2, 2, 1, 2)),
                ("attention.value_length", 20), ("attention.value_scale", 0.6f), ("rope.freq_base_swa", 300f), ("rope.scaling.factor", 2.5f),
            ])
            { Without = ["blk.0.ffn_gate_inp"] },
        new("minicpm", [.. WideNorm, .. WholeRope, ("embedding_scale", 3f), ("residual_scale", 0.6f), ("logit_scale", 6f), .. TwoOfEight]) { Variant = "moe" },
        new("minimax-m2", [.. TwoOfEight, ("expert_feed_forward_length", 96), ("expert_gating_func", 2), ("rope.scaling.factor", 2.5f)]),
        new("mistral4",
            [
                .. Latent, .. Yarn, .. Grouped, ("rope.dimension_count", 8), ("rope.scaling.yarn_log_multiplier", 0.07f), ("attention.q_lora_rank", 40), ("attention.key_length", 40),
                ("attention.value_length", 32), ("attention.key_length_mla", 24), ("attention.value_length_mla", 20), ("attention.temperature_scale", 0.5f), ("attention.temperature_length", 24),
                ("expert_shared_count", 2),
            ]),
        new("mistral3", [.. WholeRope, .. TwoOfEight]) { Variant = "moe" },
        new("olmoe", [.. EvenHeads, ("attention.head_count_kv", 4), .. WholeRope, .. TwoOfEight, ("rope.scaling.factor", 2.5f)]),
        new("phimoe", [.. EvenHeads, .. WholeRope, .. TwoOfEight, ("rope.scaling.type", "longrope"), ("rope.scaling.original_context_length", OriginalContext)])
            { With = ["rope_factors_"] },
        new("qwen2moe", [.. EvenHeads, .. WholeRope, .. TwoOfEight, .. OwnWidth, ("expert_shared_feed_forward_length", 56), ("rope.scaling.factor", 2.5f)]),
        new("qwen2moe", [.. EvenHeads, .. WholeRope, .. TwoOfEight]) { Variant = "shared-width" },
        new("qwen3moe", [.. WholeRope, ("rope.scaling.factor", 2.5f), .. TwoOfEight, .. OwnWidth]),
        new("qwen3moe", [.. WholeRope, ("expert_count", 8), ("expert_used_count", 3)]) { Variant = "shared-width", With = [".scale", "output.weight"] },
        new("qwen3vlmoe", [.. WholeRope, ("rope.dimension_sections", Layers(5, 4, 3, 0)), .. TwoOfEight, .. OwnWidth, ("rope.scaling.factor", 2.5f)]),
        new("smallthinker",
            [.. WholeRope, .. TwoOfEight, .. OwnWidth, ("attention.sliding_window", 4096), ("expert_gating_func", 2), ("rope.scaling.factor", 2.5f)]),
        new("smallthinker", [.. WholeRope, .. TwoOfEight, .. OwnWidth, ("attention.sliding_window", 4096), ("attention.sliding_window_pattern", Layers(1, 0, 1, 1, 0, 1)), ("rope.freq_base_swa", 300f), ("expert_gating_func", 1)])
            { Variant = "pattern", With = ["output.weight"] },
    ];

    // The first layers without experts.
    private static (string Key, GgufValue? Value)[] LeadingDense => [("leading_dense_block_count", 2), ("expert_feed_forward_length", 40)];

    // Experts in groups, and every key about how they are weighed.
    private static (string Key, GgufValue? Value)[] Grouped =>
    [
        .. Weighed, .. LeadingDense, ("expert_group_count", 4), ("expert_group_used_count", 2), ("expert_gating_func", 2),
    ];

    private static (string Key, GgufValue? Value)[] Weighed => [.. TwoOfEight, ("expert_weights_norm", true), ("expert_weights_scale", 1.7f)];

    private static (string Key, GgufValue? Value)[] Unabsorbed =>
    [
        .. Latent, .. LeadingDense, .. TwoOfEight, ("attention.head_count_kv", 4), ("rope.dimension_count", 8), ("attention.key_length", 24), ("attention.value_length", 20), ("expert_shared_count", 1),
    ];

    private static (string Key, GgufValue? Value)[] Latent => [("attention.kv_lora_rank", 32), ("attention.head_count_kv", 1)];
}
