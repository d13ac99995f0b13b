using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>qwen</c>: the first Qwen. Fused queries, keys and values with a bias, RoPE over halves; the file's width of the network counts gate and up together.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/qwen.cpp.</remarks>
internal static class Qwen
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { Output = Presence.Required };
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.WithoutFactors };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Gated(hidden: layer.Hidden / 2),
            });
        }

        return model.Build();
    }
}
