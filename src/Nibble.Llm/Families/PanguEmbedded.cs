using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>pangu-embedded</c>: RoPE over halves, biases in attention.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/pangu-embed.cpp; it loads frequency factors and does not use them.</remarks>
internal static class PanguEmbedded
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        reader.Ignore("rope_f");
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.Whole, OutputBias = Presence.Required };
        foreach (LayerBuilder layer in model.Layers)
        {
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
