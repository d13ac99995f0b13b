using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>qwen3moe</c>: as qwen3, with experts.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/qwen3moe.cpp.</remarks>
internal static class Qwen3Moe
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { Scales = NetworkScales.Experts };
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, QueryKeyNorm = HeadNorm.Head };
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
