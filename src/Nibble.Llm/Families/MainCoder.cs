using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>maincoder</c>: as llama, with queries and keys normed head by head after RoPE.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/maincoder.cpp.</remarks>
internal static class MainCoder
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        AttentionTraits attention = new() { Pairing = RopePairing.Adjacent, Rope = RopeTraits.Whole, QueryKeyNorm = HeadNorm.Head, IsNormedAfterRope = true };
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
