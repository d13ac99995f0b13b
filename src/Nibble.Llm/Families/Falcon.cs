using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>falcon</c>: layer norms with biases, matrices without, RoPE over halves, a GELU network beside attention; attention reads a norm of its own where the file has <c>attn_norm_2</c> (the 40B model).</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/falcon.cpp.</remarks>
internal static class Falcon
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader, NormKind.Layer, Presence.Required);
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.Whole, Bias = Presence.Absent };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.OptionalNorm("attn_norm_2") ?? layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = reader.Has(layer.Name("attn_norm_2.weight")) ? layer.Norm("attn_norm") : null,
                FeedForward = layer.Plain(Activation.Gelu, Presence.Absent),
                IsParallel = true,
            });
        }

        return model.Build();
    }
}
