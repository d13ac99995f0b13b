using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>bailingmoe2</c>: queries and keys normed head by head, partial RoPE, experts after some dense layers, with shared ones and a bias of the choice.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/bailingmoe2.cpp.</remarks>
internal static class BailingMoe2
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { Output = Presence.Required };
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.WithoutFactors, Bias = Presence.Absent, QueryKeyNorm = HeadNorm.Head };
        int dense = reader.Integer("leading_dense_block_count", 0, model.LayerCount, 0), shared = reader.Integer("expert_shared_count", 1, 1024);
        int sharedHidden = reader.Integer("expert_shared_feed_forward_length", 0, 1 << 20, 0);
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Index < dense
                    ? layer.Gated()
                    : layer.Experts(layer.KeyedExperts() with { Shared = layer.Shared(shared * (sharedHidden > 0 ? sharedHidden : layer.NamedExpertHidden())) }),
            });
        }

        return model.Build();
    }
}
