using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>arctic</c>: a dense network as wide as the state, and experts that read what the layer was given.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/arctic.cpp.</remarks>
internal static class Arctic
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        AttentionTraits attention = new() { Pairing = RopePairing.Adjacent, Rope = RopeTraits.Whole };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = new SumFeedForward(
                    model.Width,
                    new Branch(null, layer.Gated(hidden: model.Width), null),
                    new Branch(null, new EarlyFeedForward(layer.Norm("ffn_norm_exps"), layer.Experts(new ExpertTraits { Normalize = true })), null)),
            });
        }

        return model.Build();
    }
}
