using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>plamo</c>: RoPE over halves, the network beside attention with one norm for both.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/plamo.cpp.</remarks>
internal static class Plamo
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { Output = Presence.Required };
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.Whole };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForward = layer.Gated(),
                IsParallel = true,
            });
        }

        return model.Build();
    }
}
