using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>phi3</c>: fused queries, keys and values, gate and up in one matrix, partial RoPE over halves with factors for long contexts.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/phi3.cpp. The sliding window in files is not used there.</remarks>
internal static class Phi3
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        AttentionTraits attention = new() { Pairing = RopePairing.Halves };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Fused(),
            });
        }

        return model.Build();
    }
}
