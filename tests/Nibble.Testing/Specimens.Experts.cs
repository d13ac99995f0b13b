namespace Nibble.Testing;

/// <summary>Architectures whose layers are attention and experts.</summary>
public static partial class Specimens
{
    private static Specimen[] Experts =>
    [
        new("gemma4",
            [
                .. WideNorm, .. Windowed, ("attention.sliding_window_pattern", Layers(1, 0, 1, 1, 0, 1)), ("attention.key_length_swa", 16), ("attention.value_length_swa", 16), .. WholeRope,
                ("rope.dimension_count_swa", 8), ("rope.freq_base_swa", 300f), ("embedding_length_per_layer_input", 0), .. TwoOfEight, ("expert_feed_forward_length", 40),
            ])
            { Variant = "moe", With = ["rope_freqs", "ffn_gate_up_exps"], Without = ["attn_v."] },
        new("gpt-oss", [.. WholeRope, ("rope.dimension_count", 24), .. Yarn, .. Windowed, ("rope.freq_base_swa", 300f), .. TwoOfEight, .. OwnWidth]),
        new("gpt-oss", [.. WholeRope, ("rope.dimension_count", 24), .. Windowed, ("attention.sliding_window_pattern", 3), .. TwoOfEight, .. OwnWidth]) { Variant = "period" },
        new("granite",
            [
                .. WideNorm, .. WholeRope, ("embedding_scale", 3f), ("residual_scale", 0.6f), ("logit_scale", 4f), ("attention.scale", 0.4f), .. TwoOfEight,
                ("expert_shared_feed_forward_length", 40),
            ])
            { Variant = "moe" },
        new("llama", [.. WholeRope, .. TwoOfEight]) { Variant = "moe", With = ["rope_freqs"] },
        new("llama", [.. WholeRope, .. TwoOfEight]) { Variant = "moe-scaled", With = [".scale"] },
        new("mistral3", [.. WholeRope, .. TwoOfEight]) { Variant = "moe" },
        new("qwen3moe", [.. WholeRope, ("rope.scaling.factor", 2.5f), .. TwoOfEight, .. OwnWidth]),
        new("qwen3moe", [.. WholeRope, ("expert_count", 8), ("expert_used_count", 3)]) { Variant = "shared-width", With = [".scale", "output.weight"] },
    ];
}
