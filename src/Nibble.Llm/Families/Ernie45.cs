using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>ernie4_5</c> and <c>ernie4_5-moe</c>: as llama; the second has experts in every n-th layer after some dense ones.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/ernie4-5.cpp and src/models/ernie4-5-moe.cpp.</remarks>
internal static class Ernie45
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        AttentionTraits attention = new() { Pairing = RopePairing.Adjacent };
        bool hasExperts = reader.Architecture == "ernie4_5-moe";
        int dense = hasExperts ? reader.Integer("leading_dense_block_count", 0, model.LayerCount, 0) : model.LayerCount;
        int step = hasExperts ? reader.Integer("interleave_moe_layer_step", 1, 1024) : 1;
        int shared = hasExperts ? reader.Integer("expert_shared_feed_forward_length", 0, 1 << 20, 0) : 0;
        foreach (LayerBuilder layer in model.Layers)
        {
            // llama.cpp v0.5.0 lets files have this bias, and does not add it.
            reader.Ignore(layer.Name("attn_output.bias"));
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Index < dense || (layer.Index + 1) % step != 0
                    ? layer.Gated()
                    : layer.Experts(new ExpertTraits
                    {
                        Hidden = layer.ExpertHidden(),
                        Normalize = true,
                        SelectionBias = Presence.Optional,
                        Shared = shared == 0 ? null : layer.Gated(hidden: shared, suffix: "_shexp"),
                    }),
            });
        }

        return model.Build();
    }
}
