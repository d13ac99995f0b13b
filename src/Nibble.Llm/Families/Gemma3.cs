using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>gemma3</c>: as gemma2 without capped scores; queries and keys are normed head by head, and five of six layers have a sliding window and a RoPE of their own.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/gemma3.cpp.</remarks>
internal static class Gemma3
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader)
        {
            EmbeddingScale = MathF.Sqrt(reader.Width("embedding_length")),
            LogitSoftCap = reader.Number("final_logit_softcapping", 0),
        };
        Windows windows = Windows.Read(reader, model.LayerCount, period: 6);
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, QueryKeyNorm = HeadNorm.Head };
        AttentionTraits sliding = attention with { Window = windows.Length, Rope = RopeTraits.Sliding(reader, fallbackBase: 10000, factor: 1) };
        foreach (LayerBuilder layer in model.Layers)
        {
            AttentionTraits traits = windows.IsSliding(layer.Index) ? sliding : attention;
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                // The 27B model, known by its 62 layers, scales by the width of a head that shares the state evenly.
                Mixer = layer.Attention(traits with { Scale = model.LayerCount == 62 ? 1 / MathF.Sqrt(model.Width / layer.Heads) : null }),
                MixerPostNorm = layer.Norm("post_attention_norm"),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Gated(Activation.Gelu),
                FeedForwardPostNorm = layer.Norm("post_ffw_norm"),
            });
        }

        return model.Build();
    }
}
