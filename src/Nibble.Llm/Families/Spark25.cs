using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>spark2_5</c>: RoPE over halves, attention gated head by head, GELU gates, layers with a sliding window and a RoPE of their own.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/spark2-5.cpp.</remarks>
internal static class Spark25
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        if (reader.FindPerLayerFlags("attention.sliding_window_pattern", model.LayerCount) is null)
            throw reader.Error("attention.sliding_window_pattern", "spark2_5 needs a number for each layer, 0 for one without a window.");
        Windows windows = Windows.Read(reader, model.LayerCount, period: 0, fallback: null, hasOwnSizes: true);
        AttentionTraits full = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.WithoutFactors, Gate = OutputGate.Heads };
        AttentionTraits sliding = full with
        {
            Window = windows.Length,
            Rope = RopeTraits.Sliding(reader) with
            {
                HasFrequencyFactors = false,
                Dimensions = reader.HasKey("rope.dimension_count_swa") ? reader.Integer("rope.dimension_count_swa", 2, 4096) : null,
            },
        };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(windows.IsSliding(layer.Index) ? sliding : full),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Gated(Activation.Gelu),
            });
        }

        return model.Build();
    }
}
