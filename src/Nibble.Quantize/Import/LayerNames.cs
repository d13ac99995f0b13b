namespace Nibble.Quantize.Import;

/// <summary>A matrix of a layer, in both worlds.</summary>
/// <param name="Source">Its name after the layer's prefix, without <c>.weight</c>.</param>
/// <param name="Name">Its name after <c>blk.N.</c>, without <c>.weight</c>.</param>
/// <param name="Rows">Outputs.</param>
/// <param name="Columns">Inputs.</param>
/// <param name="Meaning">What the rows and columns are, for errors.</param>
internal sealed record LayerMatrix(string Source, string Name, int Rows, int Columns, string Meaning)
{
    /// <summary>Heads whose rows GGUF has in another order; 0 for none.</summary>
    public int TurnedHeads { get; init; }

    /// <summary>Whether there must be a bias; elsewhere one is taken where it is there.</summary>
    public bool NeedsBias { get; init; }
}

/// <summary>The tensors of a layer by family: what transformers calls them, what GGUF calls them, and their shapes.</summary>
internal static class LayerNames
{
    /// <summary>The matrices of attention.</summary>
    public static IEnumerable<LayerMatrix> Attention(ModelFamily family, ModelShape shape)
    {
        int queries = shape.Heads * shape.HeadSize, keys = shape.KvHeads * shape.HeadSize;
        if (family.IsFused)
        {
            yield return new("self_attn.qkv_proj", "attn_qkv", queries + (2 * keys), shape.Width, "(num_attention_heads + 2 num_key_value_heads) x head size, hidden_size");
        }
        else
        {
            yield return new("self_attn.q_proj", "attn_q", queries, shape.Width, "num_attention_heads x head size, hidden_size")
            {
                TurnedHeads = family.HasAdjacentRope ? shape.Heads : 0,
                NeedsBias = family.NeedsQueryKeyValueBias,
            };
            yield return new("self_attn.k_proj", "attn_k", keys, shape.Width, "num_key_value_heads x head size, hidden_size")
            {
                TurnedHeads = family.HasAdjacentRope ? shape.KvHeads : 0,
                NeedsBias = family.NeedsQueryKeyValueBias,
            };
            yield return new("self_attn.v_proj", "attn_v", keys, shape.Width, "num_key_value_heads x head size, hidden_size") { NeedsBias = family.NeedsQueryKeyValueBias };
        }

        yield return new("self_attn.o_proj", "attn_output", shape.Width, queries, "hidden_size, num_attention_heads x head size");
    }

    /// <summary>The matrices of a dense network.</summary>
    public static IEnumerable<LayerMatrix> Network(ModelFamily family, ModelShape shape)
    {
        if (family.IsFused)
        {
            yield return new("mlp.gate_up_proj", "ffn_up", 2 * shape.FeedForward, shape.Width, "2 intermediate_size, hidden_size");
        }
        else
        {
            yield return new("mlp.gate_proj", "ffn_gate", shape.FeedForward, shape.Width, "intermediate_size, hidden_size");
            yield return new("mlp.up_proj", "ffn_up", shape.FeedForward, shape.Width, "intermediate_size, hidden_size");
        }

        yield return new("mlp.down_proj", "ffn_down", shape.Width, shape.FeedForward, "hidden_size, intermediate_size");
    }

    /// <summary>The norms: source, name, and whether they are of a head instead of the whole state.</summary>
    public static IEnumerable<(string Source, string Name, bool IsOfHead)> Norms(ModelFamily family)
    {
        yield return ("input_layernorm", "attn_norm", false);
        if (family.HasHeadNorms)
        {
            yield return ("self_attn.q_norm", "attn_q_norm", true);
            yield return ("self_attn.k_norm", "attn_k_norm", true);
        }

        // The same name is a norm after attention in one family, and the one before the network in the others.
        yield return ("post_attention_layernorm", family.HasPostNorms ? "post_attention_norm" : "ffn_norm", false);
        if (!family.HasPostNorms) yield break;
        yield return ("pre_feedforward_layernorm", "ffn_norm", false);
        yield return ("post_feedforward_layernorm", "post_ffw_norm", false);
    }

    /// <summary>Which row of a checkpoint comes at each place in GGUF, where RoPE turns neighbours: the halves of each head interleaved.</summary>
    /// <param name="heads">Heads.</param>
    /// <param name="rows">Rows of all of them.</param>
    /// <remarks>Source: llama.cpp v0.5.0, conversion/llama.py, permute.</remarks>
    public static int[] Interleaved(int heads, int rows)
    {
        int size = rows / heads;
        int[] order = new int[rows];
        for (int head = 0; head < heads; head++)
            for (int i = 0; i < size; i++)
                order[(head * size) + i] = (head * size) + ((i & 1) * (size / 2)) + (i >> 1);
        return order;
    }
}
