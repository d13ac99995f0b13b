using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>qwen2moe</c>: as qwen2, with experts whose weights are not normalized, and a shared network weighed by a gate.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/qwen2moe.cpp.</remarks>
internal static class Qwen2Moe
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { Output = Presence.Required };
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.Whole };
        int shared = reader.Integer("expert_shared_feed_forward_length", 0, 1 << 20, 0);
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Experts(new ExpertTraits
                {
                    Hidden = layer.ExpertHidden(),
                    Shared = layer.Shared(shared > 0 ? shared : layer.Hidden),
                    HasSharedGate = true,
                }),
            });
        }

        return model.Build();
    }
}
