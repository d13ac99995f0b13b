using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>exaone4</c>: norms after both blocks instead of before them, queries and keys normed head by head; the 32B model, known by its 64 layers, has RoPE in its three of four sliding layers only.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/exaone4.cpp.</remarks>
internal static class Exaone4
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        bool isHybrid = model.LayerCount == 64;
        Windows windows = isHybrid ? Windows.Read(reader, model.LayerCount, period: 4, fallback: 4096) : new Windows(0, []);
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.Plain with { IsWhole = true }, QueryKeyNorm = HeadNorm.Head };
        AttentionTraits sliding = attention with { Window = windows.Length };
        AttentionTraits full = isHybrid ? attention with { Pairing = null } : attention;
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                Mixer = layer.Attention(windows.IsSliding(layer.Index) ? sliding : full),
                MixerPostNorm = layer.Norm("post_attention_norm"),
                FeedForward = layer.Gated(),
                FeedForwardPostNorm = layer.Norm("post_ffw_norm"),
            });
        }

        return model.Build();
    }
}
