using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>starcoder2</c> and <c>codeshell</c>: layer norms and matrices with biases, RoPE over halves, a GELU network without a gate. codeshell's output is never tied.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/starcoder2.cpp and codeshell.cpp.</remarks>
internal static class StarCoder2
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader, NormKind.Layer, Presence.Required)
        {
            Output = reader.Architecture == "codeshell" ? Presence.Required : Presence.Optional,
        };
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.Whole, OutputBias = Presence.Required };
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
