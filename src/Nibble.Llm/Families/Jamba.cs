using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>jamba</c>: Mamba with normed steps in the layers without KV heads, attention without RoPE in the others, experts in some.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/jamba.cpp.</remarks>
internal static class Jamba
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        AttentionTraits attention = new() { Pairing = null };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.KvHeads == 0 ? StateSpaceBuilder.Mamba(layer, isNormed: true, hasGains: true) : layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = reader.Has(layer.Name("ffn_gate_inp.weight")) ? layer.Experts(new ExpertTraits()) : layer.Gated(),
            });
        }

        return model.Build();
    }
}
