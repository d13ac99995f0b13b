using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>minicpm</c>: as granite, with scales of its own where the file names none, and without a scale of scores.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/minicpm.cpp.</remarks>
internal static class MiniCpm
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        int width = reader.Width("embedding_length");
        DecoderBuilder model = new(reader)
        {
            EmbeddingScale = Scale(reader, "embedding_scale", 12),
            LogitScale = 1 / reader.Positive("logit_scale", 256f / width),
        };
        AttentionTraits attention = new() { Pairing = RopePairing.Adjacent, Rope = RopeTraits.Plain with { IsWhole = true }, OutputBias = Presence.Optional };
        bool hasExperts = reader.Integer("expert_count", 0, 1024, 0) > 0;
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                ResidualScale = Scale(reader, "residual_scale", 1.4f / MathF.Sqrt(model.LayerCount)),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = hasExperts ? layer.Experts(new ExpertTraits { Normalize = true }) : layer.Gated(bias: Presence.Optional),
            });
        }

        return model.Build();
    }

    // A scale of 0 in the file means none.
    private static float Scale(ModelReader reader, string key, float fallback)
    {
        float scale = reader.Number(key, fallback);
        return scale == 0 ? 1 : scale;
    }
}
