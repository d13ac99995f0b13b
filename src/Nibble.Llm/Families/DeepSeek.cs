using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>deepseek</c>: as llama; after some dense layers experts whose weights are not normalized, with shared ones.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/deepseek.cpp.</remarks>
internal static class DeepSeek
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        AttentionTraits attention = new() { Pairing = RopePairing.Adjacent };
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
                    : layer.Experts(new ExpertTraits
                    {
                        Hidden = layer.ExpertHidden(),
                        Scale = layer.ExpertScale(),
                        Shared = layer.SharedExperts(reader.Integer("expert_shared_count", 1, 1024)),
                    }),
            });
        }

        return model.Build();
    }
}
