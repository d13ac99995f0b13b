using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>command-r</c>: layer norms without biases, the network beside attention, scaled logits, tied output; models of 64 layers and more norm queries and keys with a gain for each head.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/command-r.cpp.</remarks>
internal static class CommandR
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader, NormKind.Layer) { LogitScale = reader.Factor("logit_scale"), Output = Presence.Absent };
        AttentionTraits attention = new()
        {
            Pairing = RopePairing.Adjacent,
            Rope = RopeTraits.WithoutFactors,
            QueryKeyNorm = model.LayerCount >= 64 ? HeadNorm.EachHead : HeadNorm.None,
        };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForward = layer.Gated(),
                IsParallel = true,
            });
        }

        return model.Build();
    }
}
