using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>deepseek</c> and <c>bailingmoe</c>: as llama, with experts, shared ones among them; deepseek begins with dense layers and does not normalize the weights.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/deepseek.cpp and bailingmoe.cpp.</remarks>
internal static class DeepSeek
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        bool isBailing = reader.Architecture == "bailingmoe";
        DecoderBuilder model = new(reader) { Output = isBailing ? Presence.Required : Presence.Optional };
        AttentionTraits attention = new() { Pairing = RopePairing.Adjacent, Rope = RopeTraits.Whole };
        int dense = isBailing ? 0 : reader.Integer("leading_dense_block_count", 0, model.LayerCount, 0), shared = reader.Integer("expert_shared_count", 1, 1024);
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
                        Hidden = layer.NamedExpertHidden(),
                        Normalize = isBailing && reader.Flag("expert_weights_norm", false),
                        Scale = layer.ExpertScale(),
                        Shared = layer.Shared(shared * layer.NamedExpertHidden()),
                    }),
            });
        }

        return model.Build();
    }
}
