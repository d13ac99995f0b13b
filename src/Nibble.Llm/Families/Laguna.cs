using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>laguna</c>: heads of each layer's own number, sliding windows in three of four layers with RoPE of their own, an attention output gated by softplus, experts after some dense layers.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/laguna.cpp.</remarks>
internal static class Laguna
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        Windows windows = Windows.Read(reader, model.LayerCount, period: 4, isFirstDense: true, hasOwnSizes: true);
        AttentionTraits full = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.WithoutFactors, QueryKeyNorm = HeadNorm.Head, GateActivation = Activation.Softplus };
        AttentionTraits sliding = full with
        {
            Window = windows.Length,
            Rope = RopeTraits.Unscaled with
            {
                FrequencyBase = RopeTraits.Sliding(reader).FrequencyBase,
                Dimensions = reader.HasKey("rope.dimension_count_swa") ? reader.Integer("rope.dimension_count_swa", 2, 4096) : null,
            },
        };
        int dense = reader.Integer("leading_dense_block_count", 0, model.LayerCount), shared = reader.Integer("expert_shared_count", 1, 1024, 1);
        int sharedHidden = reader.Integer("expert_shared_feed_forward_length", 0, 1 << 20, 0);
        foreach (LayerBuilder layer in model.Layers)
        {
            AttentionTraits traits = windows.IsSliding(layer.Index) ? sliding : full;
            bool isGatedByHead = reader.Rows(layer.Name("attn_gate.weight")) == layer.Heads;
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(traits with { Gate = isGatedByHead ? OutputGate.Heads : OutputGate.Values }),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Index < dense
                    ? layer.Gated()
                    : layer.Experts(layer.KeyedExperts(GatingFunction.Sigmoid) with
                    {
                        SelectionBias = Presence.Required,
                        Shared = layer.Shared(sharedHidden > 0 ? sharedHidden : shared * layer.NamedExpertHidden()),
                    }),
            });
        }

        return model.Build();
    }
}
