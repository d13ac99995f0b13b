using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>jais2</c>: layer norms and matrices with biases, RoPE over halves, a squared ReLU network without a gate.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/jais2.cpp.</remarks>
internal static class Jais2
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader, NormKind.Layer, Presence.Required);
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.Whole, OutputBias = Presence.Required };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Plain(Activation.ReluSquared, Presence.Required),
            });
        }

        return model.Build();
    }
}
