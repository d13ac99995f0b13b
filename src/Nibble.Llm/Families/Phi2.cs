using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>phi2</c>: Phi-1, 1.5 and 2. Layer norms and matrices with biases, the output too, partial RoPE over halves, a GELU network without a gate beside attention.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/phi2.cpp.</remarks>
internal static class Phi2
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader, NormKind.Layer, Presence.Required) { Output = Presence.Required, OutputBias = Presence.Required };
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.WithoutFactors, OutputBias = Presence.Required };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForward = layer.Plain(Activation.Gelu, Presence.Required),
                IsParallel = true,
            });
        }

        return model.Build();
    }
}
