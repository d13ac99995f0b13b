using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>openelm</c>: numbers of heads and widths of networks that differ from layer to layer, queries and keys normed head by head, tied output.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/openelm.cpp.</remarks>
internal static class OpenElm
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { Output = Presence.Absent };
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.WithoutFactors, Bias = Presence.Absent, QueryKeyNorm = HeadNorm.Head, IsScaled = false };
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
