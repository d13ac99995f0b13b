using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>hunyuan-dense</c> and <c>hunyuan_vl</c>: queries and keys normed head by head after RoPE, whose base grows with <c>rope.scaling.alpha</c>; hunyuan_vl may have sections of axes.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/hunyuan-vl.cpp.</remarks>
internal static class Hunyuan
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        bool hasAxes = reader.Architecture == "hunyuan_vl" && RopeTraits.HasAxes(reader);
        float alpha = reader.Number("rope.scaling.alpha", 0), size = model.HeadSize("attention.key_length");
        AttentionTraits attention = new()
        {
            Pairing = RopePairing.Halves,
            Rope = (hasAxes ? RopeTraits.Axes(reader, isInterleaved: false) : RopeTraits.Plain) with
            {
                IsWhole = true,
                FrequencyBase = alpha > 0 ? reader.Positive("rope.freq_base", 10000) * MathF.Pow(alpha, size / (size - 2)) : null,
                HasFrequencyFactors = false,
            },
            QueryKeyNorm = HeadNorm.Head,
            IsNormedAfterRope = true,
        };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Gated(),
            });
        }

        return model.Build();
    }
}
