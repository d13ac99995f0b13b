using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>gemma</c>: scaled embeddings, GELU gates, wide heads, tied output.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/gemma.cpp.</remarks>
internal static class Gemma
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { EmbeddingScale = MathF.Sqrt(reader.Width("embedding_length")), Output = Presence.Absent };
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.WithoutFactors };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Gated(Activation.Gelu),
            });
        }

        return model.Build();
    }
}
