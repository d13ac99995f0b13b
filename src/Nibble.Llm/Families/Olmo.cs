using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>olmo</c>: layer norms without weights, clamped queries, keys and values.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/olmo.cpp.</remarks>
internal static class Olmo
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader, NormKind.Layer);
        model.OutputNorm = model.Norm();
        AttentionTraits attention = new() { Pairing = RopePairing.Adjacent, Rope = RopeTraits.Whole, ClampLimit = reader.Number("attention.clamp_kqv", 0) };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = model.Norm(),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = model.Norm(),
                FeedForward = layer.Gated(),
            });
        }

        return model.Build();
    }
}
