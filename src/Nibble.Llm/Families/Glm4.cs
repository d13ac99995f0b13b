using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>glm4</c>: norms before and after both blocks, gate and up in one matrix, partial RoPE over neighbours, or over halves where the file has sections of axes.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/glm4.cpp.</remarks>
internal static class Glm4
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        bool hasAxes = RopeTraits.HasAxes(reader);
        AttentionTraits attention = new()
        {
            Pairing = hasAxes ? RopePairing.Halves : RopePairing.Adjacent,
            Rope = hasAxes ? RopeTraits.Axes(reader, isInterleaved: false) with { HasFrequencyFactors = false } : RopeTraits.WithoutFactors,
        };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                MixerPostNorm = layer.Norm("post_attention_norm"),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Fused(),
                FeedForwardPostNorm = layer.Norm("post_ffw_norm"),
            });
        }

        return model.Build();
    }
}
