using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>qwen3</c>: RoPE over halves, queries and keys normed head by head.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/qwen3.cpp.</remarks>
internal static class Qwen3
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { Scales = NetworkScales.Dense };
        // A reranker's head: logits do not need it.
        reader.Ignore("cls.");
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, QueryKeyNorm = HeadNorm.Head };
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
