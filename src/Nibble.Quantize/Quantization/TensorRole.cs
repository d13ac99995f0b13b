using Nibble.Core.Compute;

namespace Nibble.Quantize.Quantization;

/// <summary>What a tensor is for, as far as formats depend on it.</summary>
internal enum TensorRole
{
    Other,
    Embedding,
    Output,
    Query,
    Key,
    Value,
    AttentionOutput,
    Up,
    Gate,
    Down,
}

/// <summary>Tensors by their names in GGUF files. Source: llama-quant.cpp, llama.cpp v0.5.0.</summary>
internal static class TensorNames
{
    // The fused query, key and value and the latent keys and values count as values.
    private static readonly (string Part, TensorRole Role)[] s_roles =
    [
        ("attn_qkv.weight", TensorRole.Value), ("attn_kv_b.weight", TensorRole.Value), ("attn_v.weight", TensorRole.Value), ("attn_k.weight", TensorRole.Key), ("attn_q.weight", TensorRole.Query),
        ("attn_output.weight", TensorRole.AttentionOutput), ("ffn_up", TensorRole.Up), ("ffn_gate", TensorRole.Gate), ("ffn_down", TensorRole.Down),
    ];

    // Norms, routers, positions, small projections: too small to save anything, or too sensitive.
    private static readonly string[] s_kept =
    [
        "_norm.weight", "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight", "altup", "laurel", "per_layer_model_proj", "ssm_conv1d", "shortconv.conv.weight", "indexer.k_proj.weight", "indexer.q_proj.weight",
        "time_mix_first.weight", "time_mix_w0.weight", "time_mix_w1.weight", "time_mix_w2.weight", "time_mix_v0.weight", "time_mix_v1.weight", "time_mix_v2.weight", "time_mix_a0.weight", "time_mix_a1.weight",
        "time_mix_a2.weight", "time_mix_g1.weight", "time_mix_g2.weight", "time_mix_decay_w1.weight", "time_mix_decay_w2.weight", "time_mix_lerp_fused.weight", "attn_rel_b.weight", ".position_embd", "sam.pos_embd",
        "sam.neck.", "sam.net_", ".rel_pos", ".patch_embd", ".patch_merger", "a.rvq.codebook", "mm.a.code_embd",
    ];

    private static readonly string[] s_keptWhole = ["position_embd.weight", "token_types.weight"];

    /// <summary>The role of a tensor.</summary>
    public static TensorRole Role(string name)
    {
        if (name == "output.weight") return TensorRole.Output;
        if (name is "token_embd.weight" or "per_layer_token_embd.weight") return TensorRole.Embedding;
        foreach ((string part, TensorRole role) in s_roles)
            if (name.Contains(part, StringComparison.Ordinal)) return role;
        return TensorRole.Other;
    }

    /// <summary>Whether a tensor is one that is quantized at all: a matrix of weights that is no norm, router, position or other small thing.</summary>
    /// <param name="name">The tensor.</param>
    /// <param name="dimensions">How many dimensions it has, those of one value at the end left out.</param>
    public static bool IsQuantizable(string name, int dimensions) =>
        dimensions >= 2 && name.EndsWith("weight", StringComparison.Ordinal) && !s_keptWhole.Contains(name) && !s_kept.Any(part => name.Contains(part, StringComparison.Ordinal));

    /// <summary>Whether a tensor is one that is quantized at all.</summary>
    /// <param name="tensor">The tensor.</param>
    public static bool IsQuantizable(IWeightSource tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        return IsQuantizable(tensor.Name, tensor.Matrices > 1 ? 3 : tensor.Rows > 1 ? 2 : 1);
    }

    /// <summary>The layer that a name speaks of, -1 where it speaks of none.</summary>
    public static int Layer(string name)
    {
        if (!name.StartsWith("blk.", StringComparison.Ordinal)) return -1;
        int end = name.IndexOf('.', 4);
        return end > 4 && int.TryParse(name.AsSpan(4, end - 4), System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out int layer) ? layer : -1;
    }

    /// <summary>The order in which llama-quantize writes tensors: those outside layers, then layer by layer, by name.</summary>
    public static int Compare(string left, string right)
    {
        int byLayer = Layer(left).CompareTo(Layer(right));
        return byLayer != 0 ? byLayer : string.CompareOrdinal(left, right);
    }
}
