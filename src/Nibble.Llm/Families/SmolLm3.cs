using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>smollm3</c>: as llama, but every fourth layer has no RoPE.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/smollm3.cpp.</remarks>
internal static class SmolLm3
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        AttentionTraits attention = new() { Pairing = RopePairing.Adjacent };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention((layer.Index + 1) % 4 == 0 ? attention with { Pairing = null } : attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Gated(),
            });
        }

        return model.Build();
    }
}
