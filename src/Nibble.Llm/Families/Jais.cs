using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>jais</c>: ALiBi, scores divided by the head size instead of its root, layer norms and matrices with biases, gated SiLU.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/jais.cpp.</remarks>
internal static class Jais
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader, NormKind.Layer, Presence.Required) { Output = Presence.Required };
        AttentionTraits attention = new()
        {
            Pairing = null,
            AlibiBias = reader.Number("attention.max_alibi_bias", 0),
            OutputBias = Presence.Required,
            Scale = 1f / model.HeadSize("attention.value_length"),
        };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Gated(bias: Presence.Required),
            });
        }

        return model.Build();
    }
}
