using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>qwen2vl</c>: text part of Qwen2-VL and Qwen2.5-VL. As qwen2, with RoPE of several axes.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/qwen2vl.cpp; it loads a bias of the output and does not use it.</remarks>
internal static class Qwen2Vl
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        reader.Ignore("output.bias");
        AttentionTraits attention = new()
        {
            Pairing = RopePairing.Halves,
            Rope = RopeTraits.Axes(reader, isInterleaved: false) with { IsWhole = true, HasFrequencyFactors = false },
        };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Gated(),
            });
        }

        return model.Build();
    }
}
