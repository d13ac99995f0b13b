using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>deci</c>: Llama-3.1-Nemotron 51B and Ultra 253B, Llama-3.3-Nemotron-Super 49B. As llama, where layers may lack attention, have one matrix in its place, or do nothing at all.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/deci.cpp; it does not read <c>attention.scale</c>.</remarks>
internal static class Deci
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        AttentionTraits attention = new() { Pairing = RopePairing.Adjacent, Rope = RopeTraits.Plain with { IsWhole = true }, OutputBias = Presence.Optional };
        foreach (LayerBuilder layer in model.Layers)
        {
            if (layer.Hidden == 0)
            {
                // llama.cpp drops what attention gives in such a layer, so only one without attention is known to be right.
                if (layer.Heads > 0) throw reader.Error("feed_forward_length", $"layer {layer.Index} has {layer.Heads} heads and no network; only a layer without both is known.");
                continue;
            }

            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Heads == 0 ? null : layer.Norm("attn_norm"),
                Mixer = layer.Heads == 0
                    ? null
                    : layer.KvHeads == 0 ? new LinearMixer(reader.Matrix(layer.Name("attn_output.weight"), model.Width, model.Width, isScaled: null)) : layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Gated(bias: Presence.Optional),
            });
        }

        return model.Build();
    }
}
