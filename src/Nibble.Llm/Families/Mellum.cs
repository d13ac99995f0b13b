using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>mellum</c>: as qwen3moe, with sliding windows in three of four layers, whose RoPE is not scaled.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/mellum.cpp.</remarks>
internal static class Mellum
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { Output = Presence.Required, Scales = NetworkScales.Experts };
        Windows windows = Windows.Read(reader, model.LayerCount, period: 4);
        AttentionTraits full = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.Whole, QueryKeyNorm = HeadNorm.Head };
        AttentionTraits sliding = full with { Window = windows.Length, Rope = RopeTraits.Unscaled with { IsWhole = true } };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(windows.IsSliding(layer.Index) ? sliding : full),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Experts(new ExpertTraits { Hidden = layer.ExpertHidden(), Normalize = true }),
            });
        }

        return model.Build();
    }
}
