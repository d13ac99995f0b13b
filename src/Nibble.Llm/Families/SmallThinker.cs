using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>smallthinker</c>: a router that reads what the layer was given, ReLU experts, and where the file has windows every fourth layer without RoPE and mostly without a window.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/smallthinker.cpp.</remarks>
internal static class SmallThinker
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        Windows windows = Windows.Read(reader, model.LayerCount, period: 4, isFirstDense: true);
        // The number of the file is passed over: windows are 4096 positions long.
        if (windows.Length > 0) windows = windows with { Length = 4096 };
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.Whole };
        AttentionTraits sliding = attention with { Window = windows.Length, Rope = RopeTraits.Sliding(reader) with { IsWhole = true, HasFrequencyFactors = false } };
        bool isTurnedEverywhere = windows.Length == 0 || model.LayerCount == 4;
        foreach (LayerBuilder layer in model.Layers)
        {
            AttentionTraits traits = windows.IsSliding(layer.Index) ? sliding : attention;
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(isTurnedEverywhere || layer.Index % 4 != 0 ? traits : traits with { Pairing = null }),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Experts(new ExpertTraits
                {
                    Hidden = layer.NamedExpertHidden(),
                    Activation = Activation.Relu,
                    Gating = layer.Gating(),
                    Normalize = true,
                    IsRoutedEarly = true,
                }),
            });
        }

        return model.Build();
    }
}
