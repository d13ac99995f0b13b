using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>minimax-m2</c>: queries and keys normed over all heads, partial RoPE, experts with a bias of the choice.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/minimax-m2.cpp.</remarks>
internal static class MiniMaxM2
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { Output = Presence.Required };
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.WithoutFactors, QueryKeyNorm = HeadNorm.AllHeads };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Experts(new ExpertTraits { Gating = layer.Gating(), Normalize = true, SelectionBias = Presence.Required }),
            });
        }

        return model.Build();
    }
}
