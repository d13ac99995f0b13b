using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>seed_oss</c>: RoPE over halves, biases of queries, keys and values; the norm before the network is named <c>post_attention_norm</c>.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/seed-oss.cpp; it does not read <c>attention.scale</c>.</remarks>
internal static class SeedOss
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.Whole };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("post_attention_norm"),
                FeedForward = layer.Gated(),
            });
        }

        return model.Build();
    }
}
