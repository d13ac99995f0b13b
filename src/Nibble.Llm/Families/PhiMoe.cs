using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>phimoe</c>: RMS norms and matrices with biases, longrope, experts.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/phimoe.cpp and phi3.cpp.</remarks>
internal static class PhiMoe
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader, NormKind.Rms, Presence.Required) { Output = Presence.Required, OutputBias = Presence.Required };
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, OutputBias = Presence.Required };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Experts(new ExpertTraits { Normalize = true }),
            });
        }

        return model.Build();
    }
}
