using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>bitnet</c>: BitNet b1.58. As llama, with norms before the last matrix of both blocks and tied output.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/bitnet.cpp.</remarks>
internal static class BitNet
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { Output = Presence.Absent, Scales = NetworkScales.Dense };
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.WithoutFactors, Bias = Presence.Absent, SubNorm = Presence.Required };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Gated(innerNorm: "ffn_sub_norm"),
            });
        }

        return model.Build();
    }
}
