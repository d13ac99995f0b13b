using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>bailingmoe2</c>: fused queries, keys and values, queries and keys normed head by head; after some dense layers experts by the file's gating function, in groups, with shared ones.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/bailingmoe2.cpp.</remarks>
internal static class BailingMoe2
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { Output = Presence.Required };
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Bias = Presence.Absent, QueryKeyNorm = HeadNorm.Head };
        int shared = reader.Integer("expert_shared_count", 1, 1024), width = reader.Integer("expert_shared_feed_forward_length", 0, 1 << 20, 0);
        int dense = reader.Integer("leading_dense_block_count", 0, model.LayerCount, 0);
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Index < dense
                    ? layer.Gated()
                    : layer.Experts(layer.KeyedExperts() with
                    {
                        Shared = layer.Gated(hidden: shared * (width > 0 ? width : layer.ExpertHidden()), suffix: "_shexp"),
                    }),
            });
        }

        return model.Build();
    }
}
