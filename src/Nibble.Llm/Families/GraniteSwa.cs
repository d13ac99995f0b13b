using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>granite_swa</c>: as granite, with attention sinks, layers with a sliding window and layers without RoPE; the shared expert holds gate and up in one matrix.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/granite-swa.cpp.</remarks>
internal static class GraniteSwa
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader)
        {
            EmbeddingScale = reader.Factor("embedding_scale"),
            LogitScale = 1 / reader.Positive("logit_scale"),
        };
        if (reader.FindIntegers("attention.sliding_window_pattern") is null)
            throw reader.Error("attention.sliding_window_pattern", "granite_swa needs a number for each layer, 0 for one without a window.");
        Windows windows = Windows.Read(reader, model.LayerCount, period: 0, fallback: null);
        bool[]? hasRope = reader.FindPerLayerFlags("attention.rope_pattern", model.LayerCount);
        bool hasExperts = reader.Integer("expert_count", 0, 1024, 0) > 0;
        int shared = hasExperts ? reader.Integer("expert_shared_feed_forward_length", 0, 1 << 20, 0) : 0;
        AttentionTraits attention = new()
        {
            Pairing = RopePairing.Adjacent,
            Rope = RopeTraits.Plain with { IsWhole = true },
            OutputBias = Presence.Optional,
            Scale = reader.AttentionScale(),
            Sinks = Presence.Required,
        };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention with
                {
                    Window = windows.IsSliding(layer.Index) ? windows.Length : 0,
                    Pairing = hasRope is null || hasRope[layer.Index] ? attention.Pairing : null,
                }),
                ResidualScale = reader.Factor("residual_scale"),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = hasExperts
                    ? layer.Experts(new ExpertTraits { Normalize = true, Shared = shared == 0 ? null : layer.Fused(hidden: shared, suffix: "_shexp") })
                    : layer.Gated(bias: Presence.Optional),
            });
        }

        return model.Build();
    }
}
