using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>qwen2</c>: as llama, with RoPE over halves and biases of queries, keys and values.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/qwen2.cpp.</remarks>
internal static class Qwen2
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { OutputBias = Presence.Optional };
        AttentionTraits attention = new() { Pairing = RopePairing.Halves };
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
