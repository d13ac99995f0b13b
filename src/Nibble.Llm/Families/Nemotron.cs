using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>nemotron</c>: Nemotron 3 to 4, Minitron. Layer norms with biases, partial RoPE over halves, a squared ReLU network without a gate.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/nemotron.cpp.</remarks>
internal static class Nemotron
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader, NormKind.Layer, Presence.Required) { Output = Presence.Required };
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.WithoutFactors, OutputBias = Presence.Optional };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Plain(Activation.ReluSquared, Presence.Optional),
            });
        }

        return model.Build();
    }
}
