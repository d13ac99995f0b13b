using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>cogvlm</c>: text part of CogVLM. As llama, with RoPE over halves that no key changes; the matrices for images are passed over.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/cogvlm.cpp.</remarks>
internal static class CogVlm
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        reader.Ignore("rope_f");
        AttentionTraits attention = new()
        {
            Pairing = RopePairing.Halves,
            Rope = RopeTraits.Whole with { FrequencyBase = 10000, Factor = 1, IsYarnAllowed = false, Magnitude = 1 / reader.Positive("rope.scaling.attn_factor", 1) },
            Bias = Presence.Absent,
            IsScaled = false,
        };
        foreach (LayerBuilder layer in model.Layers)
        {
            reader.Ignore(layer.Name("vis_"));
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
