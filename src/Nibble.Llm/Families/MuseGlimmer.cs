using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>muse-glimmer</c>: normed embeddings, norms before and after both blocks, queries and keys normed head by head, gated attention; three of four layers have a sliding window, and only those have RoPE.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/muse-glimmer.cpp.</remarks>
internal static class MuseGlimmer
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader)
        {
            LogitScale = reader.Number("logit_scale"),
            LogitSoftCap = reader.Number("final_logit_softcapping", 30),
            Output = Presence.Required,
        };
        model.EmbeddingNorm = model.Norm();
        Windows windows = Windows.Read(reader, model.LayerCount, period: 4, fallback: null);
        AttentionTraits full = new() { Pairing = null, QueryKeyNorm = HeadNorm.Head, Gate = OutputGate.Values };
        AttentionTraits sliding = full with
        {
            Pairing = RopePairing.Adjacent,
            Rope = RopeTraits.Sliding(reader, factor: 1) with { HasFrequencyFactors = false },
            Window = windows.Length,
        };
        NormOptions after = new(NormKind.Rms, 1e-8f);
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(windows.IsSliding(layer.Index) ? sliding : full),
                MixerPostNorm = layer.Norm("post_attention_norm") with { Options = after },
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Gated(),
                FeedForwardPostNorm = layer.Norm("post_ffw_norm") with { Options = after },
            });
        }

        return model.Build();
    }
}
