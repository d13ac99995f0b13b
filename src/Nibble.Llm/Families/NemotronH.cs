using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary>
/// <c>nemotron_h</c> and <c>nemotron_h_moe</c>: every layer is one of Mamba-2, attention without RoPE, and a network with squared ReLU, which may be experts of low rank with a shared one.
/// </summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/nemotron-h.cpp.</remarks>
internal static class NemotronH
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        string epsilon = reader.HasKey("attention.layer_norm_rms_epsilon") ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon";
        DecoderBuilder model = new(reader, epsilon: epsilon) { Scales = NetworkScales.Dense | NetworkScales.Experts | NetworkScales.Shared };
        AttentionTraits attention = new() { Pairing = null, OutputBias = Presence.Optional };
        foreach (LayerBuilder layer in model.Layers)
        {
            Norm norm = layer.Norm("attn_norm");
            model.Add(layer.Hidden == 0
                ? new DecoderLayer { MixerNorm = norm, Mixer = layer.KvHeads == 0 ? StateSpaceBuilder.Mamba2(layer) : layer.Attention(attention) }
                : new DecoderLayer { FeedForwardNorm = norm, FeedForward = FeedForward(layer) });
        }

        return model.Build();
    }

    private static FeedForward FeedForward(LayerBuilder layer)
    {
        ModelReader reader = layer.Reader;
        if (reader.Integer("expert_count", 0, 1024, 0) == 0) return layer.Plain(Activation.ReluSquared, Presence.Optional);
        return layer.Experts(new ExpertTraits
        {
            Hidden = layer.ExpertHidden(),
            Activation = Activation.ReluSquared,
            HasGate = false,
            Gating = GatingFunction.Sigmoid,
            Normalize = reader.Flag("expert_weights_norm", false),
            Scale = layer.ExpertScale(),
            SelectionBias = Presence.Required,
            LatentSize = reader.Integer("moe_latent_size", 0, 1 << 20, 0),
            Shared = layer.Plain(Activation.ReluSquared, Presence.Absent, reader.Width("expert_shared_feed_forward_length"), "_shexp"),
        });
    }
}
