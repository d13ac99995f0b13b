using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>afmoe</c>: sliding windows in three of four layers, every fourth layer without RoPE, norms before and after both blocks, a gated attention output, experts after some dense layers.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/afmoe.cpp.</remarks>
internal static class AfMoe
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { EmbeddingScale = MathF.Sqrt(reader.Width("embedding_length")) };
        Windows windows = Windows.Read(reader, model.LayerCount, period: 4, fallback: null);
        AttentionTraits full = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.WithoutFactors, QueryKeyNorm = HeadNorm.Head, Gate = OutputGate.Values };
        AttentionTraits sliding = full with { Window = windows.Length, Rope = RopeTraits.Sliding(reader) with { HasFrequencyFactors = false } };
        int dense = reader.Integer("leading_dense_block_count", 0, model.LayerCount, 0), shared = reader.Integer("expert_shared_count", 0, 1024);
        foreach (LayerBuilder layer in model.Layers)
        {
            AttentionTraits traits = windows.IsSliding(layer.Index) ? sliding : full;
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention((layer.Index + 1) % 4 != 0 ? traits : traits with { Pairing = null }),
                MixerPostNorm = layer.Norm("post_attention_norm"),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Index < dense
                    ? layer.Gated()
                    : layer.Experts(layer.KeyedExperts(GatingFunction.Sigmoid) with
                    {
                        SelectionBias = Presence.Required,
                        Shared = layer.Shared(shared * layer.NamedExpertHidden()),
                    }),
                FeedForwardPostNorm = layer.Norm("post_ffw_norm"),
            });
        }

        return model.Build();
    }
}
