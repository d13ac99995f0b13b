using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>cohere2</c>: as command-r, but three of four layers have a sliding window, and only those have RoPE.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/cohere2.cpp; it does not use <c>rope.freq_base_swa</c>.</remarks>
internal static class Cohere2
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader, NormKind.Layer)
        {
            LogitScale = reader.Number("logit_scale") is float scale and not 0 ? scale : 1,
            Output = Presence.Absent,
            Scales = NetworkScales.Dense,
        };
        Windows windows = Windows.Read(reader, model.LayerCount, period: 4, fallback: null);
        AttentionTraits full = new() { Pairing = null };
        AttentionTraits sliding = new() { Pairing = RopePairing.Adjacent, Rope = RopeTraits.WithoutFactors, Window = windows.Length };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(windows.IsSliding(layer.Index) ? sliding : full),
                FeedForward = layer.Gated(),
                IsParallel = true,
            });
        }

        return model.Build();
    }
}
