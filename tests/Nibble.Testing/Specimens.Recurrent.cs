using Nibble.Core.Gguf;

namespace Nibble.Testing;

/// <summary>Architectures with layers that keep a state.</summary>
public static partial class Specimens
{
    private static Specimen[] Recurrent =>
    [
        new("falcon-h1", [.. Mamba2, ("rope.scaling.factor", 2.5f)]),
        new("granitehybrid",
            [.. Mamba2, .. Hybrid, ("embedding_scale", 3f), ("residual_scale", 0.6f), ("logit_scale", 4f), ("attention.scale", 0.4f), ("rope.scaling.factor", 2.5f)]),
        new("granitehybrid",
            [.. Mamba2, .. Hybrid, ("logit_scale", 4f), ("rope.scaling.finetuned", false), .. TwoOfEight, ("expert_shared_feed_forward_length", 40)])
            { Variant = "moe" },
        new("jamba", [.. Hybrid, .. EvenHeads, ("ssm.conv_kernel", 4), ("ssm.inner_size", 128), ("ssm.state_size", 16), ("ssm.time_step_rank", 8), .. TwoOfEight])
            { Without = ["blk.0.ffn_gate_inp", "blk.2.ffn_gate_inp", "blk.4.ffn_gate_inp"] },
        new("kimi-linear",
            [
                .. Latent, .. Grouped, ("attention.head_count_kv", Layers(0, 1, 0, 0, 1, 0)), ("rope.dimension_count", 8), ("rope.freq_base", null), ("attention.key_length", 40),
                ("attention.value_length", 32), ("attention.key_length_mla", 24), ("attention.value_length_mla", 20), ("expert_shared_count", 2), ("expert_weights_norm", null),
                ("ssm.conv_kernel", 4), ("kda.head_dim", 16),
            ]),
        new("lfm2", [("rope.dimension_count", 12), .. Hybrid, .. EvenHeads, ("shortconv.l_cache", 4), .. Windowed, ("rope.scaling.factor", 2.5f)]),
        new("lfm2moe",
            [("rope.dimension_count", 12), .. Hybrid, .. EvenHeads, ("shortconv.l_cache", 4), ("leading_dense_block_count", 2), .. TwoOfEight, ("expert_feed_forward_length", 40), ("expert_gating_func", 2)]),
        new("mamba", [.. NoAttention, ("ssm.conv_kernel", 4), ("ssm.inner_size", 128), ("ssm.state_size", 16), ("ssm.time_step_rank", 8)]),
        new("mamba", [.. NoAttention, ("ssm.conv_kernel", 3), ("ssm.inner_size", 128), ("ssm.state_size", 16), ("ssm.time_step_rank", 8), ("ssm.dt_b_c_rms", true)])
            { Variant = "normed", With = ["output.weight"] },
        new("mamba2", [.. NoAttention, .. Mamba2]),
        new("nemotron_h", [.. Mamba2, .. Apart]),
        new("nemotron_h_moe",
            [
                .. Mamba2, .. Apart, .. TwoOfEight, ("expert_feed_forward_length", 40), ("expert_shared_feed_forward_length", 56), ("expert_weights_norm", true), ("expert_weights_scale", 1.7f),
                ("moe_latent_size", 48),
            ]),
        new("nemotron_h_moe",
            [.. Mamba2, .. Apart, .. TwoOfEight, ("expert_feed_forward_length", 40), ("expert_shared_feed_forward_length", 56), ("attention.layer_norm_rms_epsilon", null)])
            { Variant = "plain", With = [".scale", "output.weight"] },
        new("plamo2",
            [.. Hybrid, .. EvenHeads, ("ssm.conv_kernel", 4), ("ssm.inner_size", 128), ("ssm.state_size", 16), ("ssm.time_step_rank", 8), ("ssm.group_count", 0), ("rope.scaling.factor", 2.5f)])
            { With = ["attn_qkv.weight"] },
        new("qwen35", [.. Delta, ("rope.dimension_sections", Layers(3, 3, 2, 0)), ("full_attention_interval", 3), ("rope.scaling.factor", 2.5f)]),
        new("qwen35", [.. Delta, ("rope.dimension_sections", Layers(3, 2, 1, 2)), ("attention.recurrent_layers", Layers(0, 1, 1, 0, 1, 1))]) { Variant = "sections", With = [".scale", "output.weight"] },
        new("qwen35moe",
            [.. Delta, ("rope.dimension_sections", Layers(3, 3, 2, 0)), ("full_attention_interval", 3), .. TwoOfEight, .. OwnWidth, ("expert_shared_feed_forward_length", 56)]),
        new("qwen35moe",
            [.. Delta, ("rope.dimension_sections", Layers(3, 2, 1, 2)), ("attention.recurrent_layers", Layers(0, 1, 1, 0, 1, 1)), .. TwoOfEight, ("expert_feed_forward_length", 40)])
            { Variant = "sections", With = [".scale", "output.weight"] },
        new("qwen3next",
            [.. Delta, ("full_attention_interval", 3), .. TwoOfEight, .. OwnWidth, ("expert_shared_feed_forward_length", 56)]),
        new("qwen3next", [.. Delta, ("attention.recurrent_layers", Layers(0, 1, 1, 0, 1, 1)), .. TwoOfEight, ("expert_feed_forward_length", 40)]) { Variant = "split", With = ["attn_qkv.weight", "output.weight"] },
    ];

    // Layers 1 and 4 are attention.
    private static (string Key, GgufValue? Value)[] Hybrid => [("attention.head_count_kv", Layers(0, 2, 0, 0, 2, 0))];

    // Each layer is a state space layer, attention or a network.
    private static (string Key, GgufValue? Value)[] Apart =>
        [("attention.head_count_kv", Layers(0, 0, 2, 0, 0, 2)), ("feed_forward_length", Layers(0, 96, 0, 0, 96, 0)), .. WholeRope, ("rope.freq_base", null)];

    private static (string Key, GgufValue? Value)[] NoAttention =>
    [
        ("attention.head_count", null), ("attention.head_count_kv", null), ("attention.key_length", null), ("attention.value_length", null), ("feed_forward_length", null),
        .. WholeRope, ("rope.freq_base", null),
    ];

    private static (string Key, GgufValue? Value)[] Mamba2 =>
        [("ssm.conv_kernel", 4), ("ssm.inner_size", 128), ("ssm.state_size", 16), ("ssm.time_step_rank", 8), ("ssm.group_count", 2)];

    private static (string Key, GgufValue? Value)[] Delta =>
        [("ssm.conv_kernel", 4), ("ssm.inner_size", 64), ("ssm.state_size", 16), ("ssm.time_step_rank", 4), ("ssm.group_count", 2)];
}
