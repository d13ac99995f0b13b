namespace Nibble.Testing;

/// <summary>Architectures whose layers are attention and a dense network.</summary>
public static partial class Specimens
{
    private static Specimen[] Dense =>
    [
        new("gemma2", [.. WideNorm, .. Windowed, ("attn_logit_softcapping", 3f), ("final_logit_softcapping", 5f), ("rope.freq_base_swa", 300f), ("rope.scaling.factor", 2.5f)]),
        new("gemma2", [.. WideNorm, .. Windowed, ("attention.sliding_window_pattern", 3)]) { Variant = "period" },
        new("gemma3", [.. WideNorm, .. Windowed, ("final_logit_softcapping", 5f), ("rope.freq_base_swa", 300f), ("rope.scaling.factor", 2.5f)]),
        new("gemma3", [.. WideNorm, .. Windowed, ("attention.sliding_window_pattern", Layers(1, 0, 1, 1, 0, 1))]) { Variant = "pattern", With = ["output.weight"] },
        new("gemma3", WideNorm) { Variant = "full", With = ["attn_qkv.weight"] },
        new("gemma4",
            [
                .. WideNorm, .. Windowed, ("attention.sliding_window_pattern", Layers(1, 0, 1, 0, 1, 0)), ("attention.shared_kv_layers", 2), ("attention.key_length_swa", 16),
                ("attention.value_length_swa", 16), .. WholeRope, ("rope.dimension_count_swa", 8), ("rope.freq_base_swa", 300f), ("rope.scaling.factor", 2.5f),
                ("embedding_length_per_layer_input", 12), ("final_logit_softcapping", 5f), ("feed_forward_length", Layers(96, 96, 80, 80, 96, 48)),
            ])
            { With = ["rope_freqs"], Without = ["ffn_gate_inp"] },
        new("granite", [.. WideNorm, .. WholeRope, ("embedding_scale", 3f), ("residual_scale", 0.6f), ("logit_scale", 4f), ("attention.scale", 0.4f), ("rope.scaling.factor", 2.5f)]),
        new("granite", [.. WholeRope, ("logit_scale", 4f), ("rope.scaling.finetuned", false)]) { Variant = "no-rope", With = ["output.weight"] },
        new("llama", [.. WholeRope, ("rope.scaling.factor", 2.5f)]),
        new("llama", [.. WholeRope, .. Yarn, ("rope.scaling.attn_factor", 1.3f)]) { Variant = "yarn", With = ["output.weight"] },
        new("llama", [.. WholeRope, .. Yarn, ("rope.scaling.type", "longrope"), ("rope.scaling.attn_factor", 1.3f)]) { Variant = "longrope", With = ["rope_factors_"] },
        new("llama", [.. WholeRope, ("context_length", 256), ("rope.scaling.type", "longrope"), ("rope.scaling.original_context_length", 1024)]) { Variant = "shortrope", With = ["rope_factors_"] },
        new("llama", [.. WholeRope, ("rope.scale_linear", 2.5f)]) { Variant = "scaled", With = [".scale", "output.weight", "attn_qkv.weight"] },
        new("mistral3",
            [
                .. WholeRope, .. Yarn, ("attention.temperature_scale", 0.5f), ("rope.scaling.yarn_beta_fast", 2f), ("rope.scaling.yarn_beta_slow", 0.5f),
                ("rope.scaling.yarn_log_multiplier", 0.7f),
            ]),
        new("phi3", [.. EvenHeads, ("rope.dimension_count", 12), ("rope.scaling.type", "longrope"), ("rope.scaling.original_context_length", OriginalContext), ("rope.scaling.attn_factor", 1.2f)])
            { With = ["attn_qkv.weight", "rope_factors_"] },
        new("phi3", [.. EvenHeads, ("rope.dimension_count", 12), .. Windowed]) { Variant = "split", With = ["output.weight"] },
        new("qwen2", [.. EvenHeads, .. WholeRope, ("rope.scaling.factor", 2.5f)]),
        new("qwen2", [.. EvenHeads, .. WholeRope]) { Variant = "untied", With = ["output.weight"] },
        new("qwen3", [.. WholeRope, .. Yarn]),
        new("qwen3", WholeRope) { Variant = "scaled", With = [".scale", "output.weight"] },
        new("smollm3", [.. WholeRope, ("rope.scaling.factor", 2.5f)]),
    ];
}
