using Nibble.Core.Gguf;

namespace Nibble.Testing;

/// <summary>Architectures whose layers are attention and experts.</summary>
public static partial class Specimens
{
    private static Specimen[] Experts =>
    [
        new("bailingmoe2", [.. EvenHeads, ("rope.dimension_count", 12), .. Grouped, ("expert_shared_count", 2), ("expert_shared_feed_forward_length", 24), ("rope.scaling.factor", 2.5f)]) { With = ["attn_qkv.weight"] },
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
        new("llama", [.. WholeRope, .. TwoOfEight]) { Variant = "moe", With = ["rope_freqs"] },
        new("llama", [.. WholeRope, .. TwoOfEight]) { Variant = "moe-scaled", With = [".scale"] },
        new("mistral3", [.. WholeRope, .. TwoOfEight]) { Variant = "moe" },
        new("olmoe", [.. EvenHeads, ("attention.head_count_kv", 4), .. WholeRope, .. TwoOfEight, ("rope.scaling.factor", 2.5f)]),
        new("phimoe", [.. EvenHeads, .. WholeRope, .. TwoOfEight, ("rope.scaling.type", "longrope"), ("rope.scaling.original_context_length", OriginalContext)])
            { With = ["rope_factors_"] },
        new("qwen2moe", [.. EvenHeads, .. WholeRope, .. TwoOfEight, .. OwnWidth, ("expert_shared_feed_forward_length", 56), ("rope.scaling.factor", 2.5f)]),
        new("qwen2moe", [.. EvenHeads, .. WholeRope, .. TwoOfEight]) { Variant = "shared-width" },
        new("qwen3moe", [.. WholeRope, ("rope.scaling.factor", 2.5f), .. TwoOfEight, .. OwnWidth]),
        new("qwen3moe", [.. WholeRope, ("expert_count", 8), ("expert_used_count", 3)]) { Variant = "shared-width", With = [".scale", "output.weight"] },
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
        .. TwoOfEight, .. LeadingDense, ("expert_group_count", 4), ("expert_group_used_count", 2), ("expert_gating_func", 2), ("expert_weights_norm", true), ("expert_weights_scale", 1.7f),
    ];

    private static (string Key, GgufValue? Value)[] Unabsorbed =>
    [
        .. Latent, .. LeadingDense, .. TwoOfEight, ("attention.head_count_kv", 4), ("rope.dimension_count", 8), ("attention.key_length", 24), ("attention.value_length", 20), ("expert_shared_count", 1),
    ];

    private static (string Key, GgufValue? Value)[] Latent => [("attention.kv_lora_rank", 32), ("attention.head_count_kv", 1)];
}
