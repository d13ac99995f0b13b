using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>granite</c> and <c>granitemoe</c>: as llama, with embeddings, scores, residuals and logits multiplied by the file's numbers; optional experts with a shared one.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/granite.cpp and granite-moe.cpp.</remarks>
internal static class Granite
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader)
        {
            EmbeddingScale = reader.Factor("embedding_scale"),
            LogitScale = 1 / reader.Positive("logit_scale"),
        };
        AttentionTraits attention = new()
        {
            Pairing = reader.Architecture == "granitemoe" || reader.Flag("rope.scaling.finetuned", true) ? RopePairing.Adjacent : null,
            Rope = RopeTraits.Plain with { IsWhole = true },
            OutputBias = Presence.Optional,
            Scale = reader.AttentionScale(),
        };
        bool hasExperts = reader.Integer("expert_count", 0, 1024, 0) > 0;
        int shared = hasExperts ? reader.Integer("expert_shared_feed_forward_length", 0, 1 << 20, 0) : 0;
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                ResidualScale = reader.Factor("residual_scale"),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = hasExperts
                    ? layer.Experts(new ExpertTraits { Normalize = true, Shared = shared == 0 ? null : layer.Gated(hidden: shared, suffix: "_shexp") })
                    : layer.Gated(bias: Presence.Optional),
            });
        }

        return model.Build();
    }
}
