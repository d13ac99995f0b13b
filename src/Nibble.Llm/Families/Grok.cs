using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>grok</c>: norms before and after both blocks, scaled embeddings, scores and logits, soft caps, GELU experts with an optional dense network beside them.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/grok.cpp and src/llama-graph.cpp, build_attn_mha.</remarks>
internal static class Grok
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader)
        {
            EmbeddingScale = reader.Number("embedding_scale", 78.38367176906169f),
            LogitScale = reader.Number("logit_scale", 0.5773502691896257f),
            LogitSoftCap = reader.Number("final_logit_softcapping", 0),
        };
        AttentionTraits attention = new()
        {
            Pairing = RopePairing.Halves,
            Rope = Rope(reader),
            Scale = reader.Number("attention.output_scale", 0.08838834764831845f),
            SoftCap = reader.Positive("attn_logit_softcapping", 30),
        };
        foreach (LayerBuilder layer in model.Layers)
        {
            bool hasDense = reader.Has(layer.Name("ffn_up.weight"));
            int hidden = reader.HasKey("expert_feed_forward_length") ? reader.PerLayer("expert_feed_forward_length", model.LayerCount, 0, 1 << 20)[layer.Index] : 0;
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                MixerPostNorm = layer.Norm("attn_output_norm"),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Experts(new ExpertTraits
                {
                    Hidden = hidden > 0 ? hidden : null,
                    Activation = Activation.Gelu,
                    Normalize = true,
                    Shared = hasDense ? layer.Gated(Activation.Gelu) : null,
                    SumScale = hasDense ? MathF.Sqrt(2) / 2 : 1,
                }),
                FeedForwardPostNorm = layer.OptionalNorm("layer_output_norm") ?? layer.Norm("post_ffw_norm"),
            });
        }

        return model.Build();
    }

    // YaRN by the file's own numbers; where its mix is 0, its magnitude is the file's.
    private static RopeTraits Rope(ModelReader reader)
    {
        bool isYarn = Rotations.ScalingType(reader) == "yarn";
        float mix = reader.Number("rope.scaling.yarn_ext_factor", -1);
        if (mix > 0 && !isYarn)
            throw reader.Error("rope.scaling.yarn_ext_factor", $"rope.scaling.yarn_ext_factor is {mix}; it counts only where rope.scaling.type is yarn.");
        bool isMixed = isYarn && mix != 0;
        return RopeTraits.Whole with
        {
            IsYarnAllowed = isMixed,
            ExtrapolationFactor = mix < 0 ? 1 : mix,
            BetaFast = reader.Number("rope.scaling.yarn_beta_fast", 8),
            BetaSlow = reader.Number("rope.scaling.yarn_beta_slow", 1),
            Magnitude = isMixed ? 1 : reader.Number("rope.scaling.yarn_attn_factor", 1),
        };
    }
}
