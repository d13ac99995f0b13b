using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>ernie4_5</c>, <c>ernie4_5-moe</c> and <c>paddleocr</c>: as llama. The second has experts after some dense layers, the third sections of axes and halves in RoPE, and a bias of the attention output.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/ernie4-5.cpp, ernie4-5-moe.cpp and paddleocr.cpp.</remarks>
internal static class Ernie45
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        bool hasExperts = reader.Architecture == "ernie4_5-moe", hasAxes = reader.Architecture == "paddleocr";
        AttentionTraits attention = new()
        {
            Pairing = hasAxes ? RopePairing.Halves : RopePairing.Adjacent,
            OutputBias = hasAxes ? Presence.Optional : Presence.Absent,
            Rope = hasAxes ? RopeTraits.Axes(reader, isInterleaved: false) with { IsWhole = true, HasFrequencyFactors = false } : RopeTraits.Whole,
        };
        int dense = hasExperts ? reader.Integer("leading_dense_block_count", 0, model.LayerCount, 0) : model.LayerCount;
        int step = hasExperts ? reader.Integer("interleave_moe_layer_step", 1, 1024) : 1;
        int shared = hasExperts ? reader.Integer("expert_shared_feed_forward_length", 0, 1 << 20, 0) : 0;
        foreach (LayerBuilder layer in model.Layers)
        {
            // Read and then passed over by llama.cpp.
            if (!hasAxes) reader.Ignore(layer.Name("attn_output.bias"));
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Index < dense || (layer.Index + 1) % step != 0
                    ? layer.Gated()
                    : layer.Experts(new ExpertTraits { Hidden = layer.NamedExpertHidden(), Normalize = true, SelectionBias = Presence.Optional, Shared = layer.Shared(shared) }),
            });
        }

        return model.Build();
    }
}
