using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>refact</c>: as llama, with ALiBi instead of RoPE.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/refact.cpp; it loads a bias of the attention output, biases of the network and frequency factors, and uses none of them.</remarks>
internal static class Refact
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        if (reader.Integer("expert_count", 0, 1024, 0) > 0)
            throw reader.Error("expert_count", "refact with experts is not known: llama.cpp v0.5.0 loads them and runs no network in their place.");
        DecoderBuilder model = new(reader);
        reader.Ignore("rope_f");
        AttentionTraits attention = new() { Pairing = null, AlibiBias = 8 };
        foreach (LayerBuilder layer in model.Layers)
        {
            foreach (string unused in (string[])["attn_output", "ffn_gate", "ffn_up", "ffn_down"])
                reader.Ignore(layer.Name(unused + ".bias"));
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Gated(),
            });
        }

        return model.Build();
    }
}
