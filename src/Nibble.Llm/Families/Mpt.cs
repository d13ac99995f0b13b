using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>mpt</c>: ALiBi or embeddings of positions, clamped queries, keys and values, layer norms with or without biases, a GELU network without a gate.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/mpt.cpp.</remarks>
internal static class Mpt
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader, NormKind.Layer, Presence.Optional);
        if (reader.Has("position_embd.weight")) model.PositionEmbedding = reader.Table("position_embd.weight", model.Width, reader.ContextLength());
        AttentionTraits attention = new()
        {
            Pairing = null,
            AlibiBias = reader.Number("attention.max_alibi_bias", 0),
            ClampLimit = reader.Number("attention.clamp_kqv", 0),
            OutputBias = Presence.Optional,
            QueryKeyNormBias = Presence.Optional,
        };
        AttentionTraits normed = attention with { QueryKeyNorm = HeadNorm.AllHeads };
        foreach (LayerBuilder layer in model.Layers)
        {
            // The norm of the queries tells whether there are any; that of the keys alone is not used.
            bool isNormed = reader.Has(layer.Name("attn_q_norm.weight"));
            if (!isNormed) reader.Ignore(layer.Name("attn_k_norm."));
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(isNormed ? normed : attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Plain(Activation.Gelu, Presence.Optional),
            });
        }

        return model.Build();
    }
}
