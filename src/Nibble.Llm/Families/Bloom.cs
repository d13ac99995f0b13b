using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>bloom</c>: normed embeddings, ALiBi, layer norms and matrices with biases, a GELU network without a gate.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/bloom.cpp.</remarks>
internal static class Bloom
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader, NormKind.Layer, Presence.Required);
        model.EmbeddingNorm = model.Norm("token_embd_norm");
        AttentionTraits attention = new() { Pairing = null, AlibiBias = 8, OutputBias = Presence.Required };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Plain(Activation.Gelu, Presence.Required),
            });
        }

        return model.Build();
    }
}
