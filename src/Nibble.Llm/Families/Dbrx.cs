using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>dbrx</c>: layer norms without biases, clamped queries, keys and values, experts.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/dbrx.cpp.</remarks>
internal static class Dbrx
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader, NormKind.Layer) { Output = Presence.Required };
        AttentionTraits attention = new()
        {
            Pairing = RopePairing.Halves,
            Rope = RopeTraits.Whole,
            Bias = Presence.Absent,
            ClampLimit = reader.Number("attention.clamp_kqv"),
        };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("attn_output_norm"),
                FeedForward = layer.Experts(new ExpertTraits { Normalize = true }),
            });
        }

        return model.Build();
    }
}
