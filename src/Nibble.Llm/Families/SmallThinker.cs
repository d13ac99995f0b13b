using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>smallthinker</c>: experts with ReLU gates, chosen by what the layer was given before attention; three of four layers have a sliding window, the fourth has no RoPE.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/smallthinker.cpp. It takes a window of 4096 whatever positive number the file names.</remarks>
internal static class SmallThinker
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        bool hasWindow = reader.Integer("attention.sliding_window", 0, int.MaxValue, 0) > 0;
        bool[] sliding = reader.FindPerLayerFlags("attention.sliding_window_pattern", model.LayerCount)
            ?? Windows.Periodic(model.LayerCount, reader.Integer("attention.sliding_window_pattern", 0, 1024, 4), isFirstDense: true);
        AttentionTraits attention = new() { Pairing = RopePairing.Halves };
        AttentionTraits windowed = attention with { Window = 4096, Rope = RopeTraits.Sliding(reader) };
        foreach (LayerBuilder layer in model.Layers)
        {
            AttentionTraits traits = hasWindow && sliding[layer.Index] ? windowed : attention;
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(hasWindow && layer.Index % 4 == 0 ? traits with { Pairing = null } : traits),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Experts(new ExpertTraits
                {
                    Hidden = layer.ExpertHidden(),
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
