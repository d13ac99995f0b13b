using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>plamo3</c>: norms before and after both blocks, fused matrices, queries and keys normed head by head, seven of eight layers with a sliding window where the file has one.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/plamo3.cpp.</remarks>
internal static class Plamo3
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        Windows windows = Windows.Read(reader, model.LayerCount, period: 8);
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.WithoutFactors, Bias = Presence.Absent, QueryKeyNorm = HeadNorm.Head, IsScaled = false };
        AttentionTraits sliding = attention with
        {
            Window = windows.Length,
            Rope = RopeTraits.Sliding(reader, fallbackBase: 10000, factor: 1) with { HasFrequencyFactors = false },
        };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(windows.IsSliding(layer.Index) ? sliding : attention),
                MixerPostNorm = layer.BareNorm("post_attention_norm"),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Fused(),
                FeedForwardPostNorm = layer.BareNorm("post_ffw_norm"),
            });
        }

        return model.Build();
    }
}
