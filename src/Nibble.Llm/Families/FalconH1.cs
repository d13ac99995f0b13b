using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>falcon-h1</c>: attention and Mamba-2 side by side in every layer.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/falcon-h1.cpp.</remarks>
internal static class FalconH1
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Rope = new RopeTraits { HasFrequencyFactors = false } };
        // llama.cpp loads frequency factors and the output's bias and uses neither.
        reader.Ignore("rope_freqs.");
        foreach (LayerBuilder layer in model.Layers)
        {
            reader.Ignore(layer.Name("attn_output.bias"));
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = new SumMixer(model.Width, layer.Attention(attention), StateSpaceBuilder.Mamba2(layer, norm: Presence.Optional)),
                FeedForwardNorm = layer.BareNorm("ffn_norm"),
                FeedForward = layer.Gated(bias: Presence.Optional),
            });
        }

        return model.Build();
    }
}
