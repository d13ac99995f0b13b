using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>qwen3vlmoe</c>: text part of Qwen3-VL with experts. As qwen3moe, with RoPE of several axes that take turns.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/qwen3vlmoe.cpp.</remarks>
internal static class Qwen3VlMoe
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        AttentionTraits attention = new()
        {
            Pairing = RopePairing.Halves,
            Rope = RopeTraits.Axes(reader, isInterleaved: true) with { IsWhole = true, HasFrequencyFactors = false },
            QueryKeyNorm = HeadNorm.Head,
        };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Experts(new ExpertTraits { Hidden = layer.ExpertHidden(), Normalize = true }),
            });
        }

        return model.Build();
    }
}
