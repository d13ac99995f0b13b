using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>olmo2</c>: OLMo 2 and 3. Norms after both blocks instead of before them, queries and keys normed over all heads; three of four layers of OLMo 3 have a sliding window and unscaled RoPE.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/olmo2.cpp.</remarks>
internal static class Olmo2
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { Output = Presence.Required };
        Windows windows = Windows.Read(reader, model.LayerCount, period: 4);
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.Whole, QueryKeyNorm = HeadNorm.AllHeads };
        AttentionTraits sliding = attention with
        {
            Window = windows.Length,
            Rope = RopeTraits.Whole with { Factor = 1, IsYarnAllowed = false, Magnitude = 1 / reader.Positive("rope.scaling.attn_factor", 1) },
        };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                Mixer = layer.Attention(windows.IsSliding(layer.Index) ? sliding : attention),
                MixerPostNorm = layer.Norm("post_attention_norm"),
                FeedForward = layer.Gated(),
                FeedForwardPostNorm = layer.Norm("post_ffw_norm"),
            });
        }

        return model.Build();
    }
}
