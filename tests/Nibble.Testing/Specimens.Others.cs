namespace Nibble.Testing;

/// <summary>Older and rarer architectures whose layers are attention and a dense network.</summary>
public static partial class Specimens
{
    private static Specimen[] Others =>
    [
        new("arcee", [.. WholeRope, ("rope.scaling.factor", 2.5f)]) { With = ["rope_freqs"] },
        new("baichuan", [.. EvenHeads, .. WholeRope, ("block_count", 32), ("rope.scaling.factor", 2.5f)]),
        new("baichuan", [.. EvenHeads, .. WholeRope, ("block_count", 40)]) { Variant = "alibi" },
        new("bitnet", [.. EvenHeads, ("rope.dimension_count", 12), ("rope.scaling.factor", 2.5f)]) { With = [".scale"] },
        new("bloom", [.. EvenHeads, .. WholeRope]) { With = ["attn_qkv.weight"] },
        new("chatglm", [.. EvenHeads, ("rope.dimension_count", 12), ("rope.scaling.factor", 2.5f)]),
        new("codeshell", [.. EvenHeads, .. WholeRope, ("rope.scaling.factor", 2.5f)]),
        new("cogvlm", [.. EvenHeads, .. WholeRope, ("attention.head_count_kv", 4)])
            {
                With = ["attn_qkv.weight"],
                Others =
                [
                    ("vis_attn_qkv.weight", 64, 192), ("vis_attn_output.weight", 64, 64), ("vis_gate.weight", 64, 96), ("vis_up.weight", 64, 96), ("vis_down.weight", 96, 64),
                ],
            },
        new("cohere2", [.. EvenHeads, .. WholeRope, .. Windowed, ("logit_scale", 0.3f), ("rope.scaling.factor", 2.5f)]),
        new("cohere2", [.. EvenHeads, .. WholeRope, .. Windowed, ("logit_scale", 0.3f), ("attention.sliding_window_pattern", Layers(1, 0, 1, 1, 0, 1))]) { Variant = "pattern" },
        new("command-r", [.. EvenHeads, .. WholeRope, ("logit_scale", 0.3f), ("rope.scaling.factor", 2.5f)]),
        new("command-r", [.. EvenHeads, .. WholeRope, ("block_count", 64), ("logit_scale", 0.3f)]) { Variant = "large" },
        new("deci",
            [
                .. WholeRope, ("attention.head_count", Layers(4, 4, 0, 4, 0, 4)), ("attention.head_count_kv", Layers(2, 0, 0, 1, 0, 2)), ("feed_forward_length", Layers(96, 80, 96, 64, 0, 96)),
                ("rope.scaling.factor", 2.5f),
            ])
            { With = ["rope_freqs"] },
        new("exaone", [.. WholeRope, ("rope.scaling.factor", 2.5f)]) { With = ["rope_freqs"] },
        new("exaone4", [.. EvenHeads, .. WholeRope, ("rope.scaling.factor", 2.5f)]) { With = ["rope_freqs"] },
        new("exaone4", [.. EvenHeads, .. WholeRope, .. Windowed, ("attention.sliding_window_pattern", 3), ("block_count", 64)]) { Variant = "large" },
        new("falcon", [.. EvenHeads, .. WholeRope, ("rope.scaling.factor", 2.5f)]) { With = ["attn_qkv.weight"] },
        new("falcon", [.. EvenHeads, .. WholeRope]) { Variant = "one-norm", Without = ["attn_norm_2"], With = ["attn_qkv.weight", "output.weight"] },
        new("gemma", [.. WideNorm, .. WholeRope, ("rope.scaling.factor", 2.5f)]),
        new("glm4", [("rope.scaling.factor", 2.5f)]),
        new("glm4", [("rope.dimension_sections", Layers(3, 3, 2, 0))]) { Variant = "sections" },
        new("gpt2", [.. EvenHeads, .. WholeRope]) { With = ["attn_qkv.weight"] },
        new("gptneox", [.. EvenHeads, ("rope.dimension_count", 12), ("use_parallel_residual", true), ("rope.scaling.factor", 2.5f)]) { With = ["attn_qkv.weight"] },
        new("gptneox", [.. EvenHeads, ("rope.dimension_count", 12), ("use_parallel_residual", false)]) { Variant = "serial", With = ["attn_qkv.weight"] },
        new("granite_swa",
            [
                .. WideNorm, .. WholeRope, .. Windowed, ("attention.sliding_window_pattern", Layers(1, 0, 1, 1, 0, 1)), ("attention.rope_pattern", Layers(1, 0, 1, 1, 1, 0)),
                ("embedding_scale", 3f), ("residual_scale", 0.6f), ("logit_scale", 4f), ("attention.scale", 0.4f), ("rope.scaling.factor", 2.5f),
            ]),
        new("hunyuan-dense", [.. WholeRope, ("rope.scaling.alpha", 3f), ("rope.scaling.factor", 2.5f)]),
        new("hunyuan_vl", [.. WholeRope, ("rope.scaling.alpha", 3f), ("rope.dimension_sections", Layers(4, 4, 3, 1))]),
        new("internlm2", [.. EvenHeads, .. WholeRope, ("rope.scaling.factor", 2.5f)]),
        new("jais", [.. EvenHeads, .. WholeRope, ("attention.max_alibi_bias", 5f)]) { With = ["attn_qkv.weight"] },
        new("jais2", [.. EvenHeads, .. WholeRope, ("rope.scaling.factor", 2.5f)]),
        new("maincoder", [.. WholeRope, ("rope.scaling.factor", 2.5f)]),
        new("minicpm", [.. WideNorm, .. WholeRope, ("embedding_scale", 3f), ("residual_scale", 0.6f), ("logit_scale", 6f), ("rope.scaling.factor", 2.5f)]) { With = ["rope_freqs"] },
        new("minicpm", [("attention.layer_norm_rms_epsilon", 8f), .. WholeRope]) { Variant = "defaults", With = ["output.weight"] },
        new("minicpm3",
            [
                ("attention.layer_norm_rms_epsilon", 0.3f), ("attention.head_count_kv", 4), ("attention.key_length", 24), ("attention.value_length", 20), ("rope.dimension_count", 8), ("attention.q_lora_rank", 40),
                ("attention.kv_lora_rank", 32), ("rope.scaling.type", "longrope"), ("rope.scaling.original_context_length", OriginalContext), ("rope.scaling.attn_factor", 1.2f),
            ])
            { With = ["rope_factors_"] },
        new("mpt", [.. EvenHeads, .. WholeRope, ("attention.max_alibi_bias", 5f), ("attention.clamp_kqv", 1.5f)]) { Without = ["position_embd", "attn_q_norm", "attn_k_norm"], With = ["attn_qkv.weight"] },
        new("mpt", [.. EvenHeads, .. WholeRope]) { Variant = "positions", Without = [".bias", "attn_q_norm", "attn_k_norm"], With = ["attn_qkv.weight", "output.weight"] },
        new("muse-glimmer", [.. WholeRope, .. Windowed, ("logit_scale", 0.3f), ("final_logit_softcapping", 5f), ("rope.freq_base", null), ("rope.freq_base_swa", 300f)]),
        new("muse-glimmer", [.. WholeRope, .. Windowed, ("logit_scale", 0.3f), ("attention.sliding_window_pattern", Layers(1, 0, 1, 1, 0, 1))]) { Variant = "pattern" },
        new("nanbeige", [.. WholeRope, ("num_loops", 2), ("rope.scaling.factor", 2.5f)]),
        new("nanbeige", [.. WholeRope, ("num_loops", 3), ("skip_loop_final_norm", true)]) { Variant = "unnormed", With = ["output.weight"] },
        new("nemotron", [.. EvenHeads, ("rope.dimension_count", 12), ("rope.scaling.factor", 2.5f)]),
        new("olmo", [.. EvenHeads, .. WholeRope, ("attention.clamp_kqv", 1.5f), ("rope.scaling.factor", 2.5f)]),
        new("olmo2", [.. EvenHeads, .. WholeRope, .. Windowed, .. Yarn, ("rope.scaling.attn_factor", 1.2f)]),
        new("olmo2", [.. EvenHeads, .. WholeRope, .. Windowed, ("attention.sliding_window_pattern", Layers(1, 0, 1, 1, 0, 1))]) { Variant = "pattern" },
        new("olmo2", [.. EvenHeads, .. WholeRope, ("rope.scaling.factor", 2.5f)]) { Variant = "full" },
        new("openelm",
            [
                .. EvenHeads, .. WholeRope, ("attention.head_count", Layers(4, 4, 6, 6, 8, 8)), ("attention.head_count_kv", Layers(2, 2, 3, 3, 4, 2)),
                ("feed_forward_length", Layers(64, 80, 96, 96, 112, 128)), ("rope.scaling.factor", 2.5f),
            ])
            { With = ["attn_qkv.weight"] },
        new("orion", [.. EvenHeads, .. WholeRope, ("rope.scaling.factor", 2.5f)]),
        new("paddleocr", [.. WholeRope, ("rope.dimension_sections", Layers(4, 4, 3, 1)), ("rope.scaling.factor", 2.5f)]),
        new("pangu-embedded", [.. EvenHeads, .. WholeRope, ("rope.scaling.factor", 2.5f)]),
        new("phi2", [.. EvenHeads, ("rope.dimension_count", 12), ("rope.scaling.factor", 2.5f)]),
        new("plamo", [.. EvenHeads, .. WholeRope, ("rope.scaling.factor", 2.5f)]),
        new("plamo3", [.. Windowed, ("rope.freq_base_swa", 300f), ("rope.scaling.factor", 2.5f)]) { With = ["attn_qkv.weight"] },
        new("plamo3", [.. Windowed, ("attention.sliding_window_pattern", Layers(1, 0, 1, 1, 0, 1))]) { Variant = "pattern", With = ["attn_qkv.weight", "output.weight"] },
        new("qwen", [.. EvenHeads, .. WholeRope, ("attention.head_count_kv", 4), ("feed_forward_length", 192), ("rope.scaling.factor", 2.5f)]) { With = ["attn_qkv.weight"] },
        // llama.cpp v0.5.0 reads no epsilon for qwen2vl.
        new("qwen2vl", [.. EvenHeads, ("attention.layer_norm_rms_epsilon", 1e-7f), .. WholeRope, ("rope.dimension_sections", Layers(3, 3, 2, 0)), ("rope.scaling.factor", 2.5f)]),
        new("qwen3vl", [.. WholeRope, ("rope.dimension_sections", Layers(5, 4, 3, 0)), ("rope.scaling.factor", 2.5f)]),
        new("refact", [.. EvenHeads, .. WholeRope]),
        new("seed_oss", [.. WholeRope, ("rope.scaling.factor", 2.5f)]),
        new("spark2_5",
            [.. Windowed, ("attention.sliding_window_pattern", Layers(1, 0, 1, 1, 0, 1)), ("rope.dimension_count_swa", 8), ("rope.freq_base_swa", 300f), ("rope.scaling.factor", 2.5f)]),
        new("stablelm", [.. EvenHeads, ("rope.dimension_count", 12), ("rope.scaling.factor", 2.5f)]),
        new("stablelm", [.. EvenHeads, ("rope.dimension_count", 12)]) { Variant = "parallel", Without = ["ffn_norm", "attn_q_norm", "attn_k_norm"] },
        new("starcoder", [.. EvenHeads, .. WholeRope, ("attention.head_count_kv", 1)]) { With = ["attn_qkv.weight"] },
        new("starcoder2", [.. EvenHeads, .. WholeRope, ("rope.scaling.factor", 2.5f)]),
        new("xverse", [.. EvenHeads, .. WholeRope, ("rope.scaling.factor", 2.5f)]),
    ];
}
