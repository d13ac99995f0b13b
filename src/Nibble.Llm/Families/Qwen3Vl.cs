using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>qwen3vl</c>: text part of Qwen3-VL. As qwen3, with RoPE of several axes that take turns.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/qwen3vl.cpp.</remarks>
internal static class Qwen3Vl
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        // A reranker's head: logits do not need it.
        reader.Ignore("cls.");
        AttentionTraits attention = new()
        {
            Pairing = RopePairing.Halves,
            Rope = RopeTraits.Axes(reader, isInterleaved: true) with { IsWhole = true, HasFrequencyFactors = false },
            QueryKeyNorm = HeadNorm.Head,
        };
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
