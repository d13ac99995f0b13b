using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>arcee</c>: as llama, with a squared ReLU network without a gate.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/arcee.cpp; it does not read <c>attention.scale</c>.</remarks>
internal static class Arcee
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        AttentionTraits attention = new() { Pairing = RopePairing.Adjacent, Rope = RopeTraits.Plain with { IsWhole = true } };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Plain(Activation.ReluSquared, Presence.Absent),
            });
        }

        return model.Build();
    }
}
