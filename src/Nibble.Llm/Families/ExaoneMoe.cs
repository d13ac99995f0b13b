using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>exaone-moe</c>: RoPE only in the layers with a sliding window, queries and keys normed head by head, experts after some dense layers, with a shared one.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/exaone-moe.cpp.</remarks>
internal static class ExaoneMoe
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { Output = Presence.Required };
        Windows windows = Windows.Read(reader, model.LayerCount, period: 4, fallback: null);
        AttentionTraits full = new() { Pairing = null, QueryKeyNorm = HeadNorm.Head };
        AttentionTraits sliding = full with { Pairing = RopePairing.Halves, Rope = RopeTraits.Plain with { IsWhole = true }, Window = windows.Length };
        int dense = reader.Integer("leading_dense_block_count", 0, model.LayerCount, 0), shared = reader.Integer("expert_shared_feed_forward_length", 0, 1 << 20, 0);
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(windows.IsSliding(layer.Index) ? sliding : full),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Index < dense
                    ? layer.Gated()
                    : layer.Experts(layer.KeyedExperts() with { Shared = layer.Shared(shared > 0 ? shared : layer.NamedExpertHidden()) }),
            });
        }

        return model.Build();
    }
}
