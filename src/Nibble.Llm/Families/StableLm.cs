using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>stablelm</c>: layer norms with biases, partial RoPE over halves, optional norms of each head; layers without a norm of their own for the network (the 12B model) run it beside attention.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/stablelm.cpp.</remarks>
internal static class StableLm
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader, NormKind.Layer, Presence.Required) { Output = Presence.Required };
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.WithoutFactors, QueryKeyNorm = HeadNorm.EachHead, IsQueryKeyNormOptional = true };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.OptionalNorm("ffn_norm"),
                FeedForward = layer.Gated(),
                IsParallel = !reader.Has(layer.Name("ffn_norm.weight")),
            });
        }

        return model.Build();
    }
}
