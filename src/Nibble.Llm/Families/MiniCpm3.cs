using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>minicpm3</c>: multi-head latent attention, longrope, residuals, embeddings and logits scaled by numbers of the architecture's own.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/minicpm3.cpp.</remarks>
internal static class MiniCpm3
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        int width = reader.Width("embedding_length");
        DecoderBuilder model = new(reader) { EmbeddingScale = 12, LogitScale = 256f / width };
        int headSize = model.HeadSize("attention.key_length");
        LatentAttentionTraits attention = new()
        {
            QueryRank = reader.Width("attention.q_lora_rank"),
            Rank = reader.Width("attention.kv_lora_rank"),
            HeadSize = headSize,
            TurnedSize = reader.Integer("rope.dimension_count", 2, headSize, headSize),
            ValueSize = model.HeadSize("attention.value_length"),
            IsAbsorbed = false,
            Pairing = RopePairing.Halves,
            Scale = 1 / MathF.Sqrt(headSize),
        };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = attention.Build(layer),
                ResidualScale = 1.4f / MathF.Sqrt(model.LayerCount),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Gated(),
            });
        }

        return model.Build();
    }
}
