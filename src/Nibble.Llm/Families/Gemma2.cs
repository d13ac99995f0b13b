using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>gemma2</c>: scaled embeddings, norms before and after both blocks, GELU gates, capped scores and logits, every second layer with a sliding window.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/gemma2.cpp.</remarks>
internal static class Gemma2
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader)
        {
            EmbeddingScale = MathF.Sqrt(reader.Width("embedding_length")),
            LogitSoftCap = reader.Positive("final_logit_softcapping", 30),
            Output = Presence.Absent,
        };
        Windows windows = Windows.Read(reader, model.LayerCount, period: 2, fallback: 4096);
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, SoftCap = reader.Positive("attn_logit_softcapping", 50) };
        AttentionTraits sliding = attention with { Window = windows.Length, Rope = RopeTraits.Sliding(reader) };
        foreach (LayerBuilder layer in model.Layers)
        {
            AttentionTraits traits = windows.IsSliding(layer.Index) ? sliding : attention;
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                // The 27B model, known by its 46 layers, scales by the width of a head that shares the state evenly.
                Mixer = layer.Attention(traits with { Scale = model.LayerCount == 46 ? 1 / MathF.Sqrt(model.Width / layer.Heads) : null }),
                MixerPostNorm = layer.Norm("post_attention_norm"),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Gated(Activation.Gelu),
                FeedForwardPostNorm = layer.Norm("post_ffw_norm"),
            });
        }

        return model.Build();
    }
}
