using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>glm4moe</c>: partial RoPE over halves, queries and keys normed in some models; after some dense layers experts by the file's gating function with a bias of the choice, and shared ones.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/glm4-moe.cpp.</remarks>
internal static class Glm4Moe
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        AttentionTraits attention = new()
        {
            Pairing = RopePairing.Halves,
            QueryKeyNorm = HeadNorm.Head,
            IsQueryKeyNormOptional = true,
            Rope = RopeTraits.HasAxes(reader) ? RopeTraits.Axes(reader, isInterleaved: false) : RopeTraits.Plain,
        };
        int shared = reader.Integer("expert_shared_count", 1, 1024);
        int dense = reader.Integer("leading_dense_block_count", 0, model.LayerCount, 0);
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("post_attention_norm"),
                FeedForward = layer.Index < dense
                    ? layer.Gated()
                    : layer.Experts(layer.KeyedExperts(GatingFunction.Sigmoid) with
                    {
                        SelectionBias = Presence.Required,
                        Shared = layer.SharedExperts(shared),
                    }),
            });
        }

        return model.Build();
    }
}
