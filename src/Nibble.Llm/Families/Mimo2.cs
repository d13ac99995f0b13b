using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>mimo2</c>: sliding windows as the file lists them, optional sinks, heads of each layer's own number, values smaller than keys, an attention output that is scaled.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/mimo2.cpp.</remarks>
internal static class Mimo2
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { Output = Presence.Required };
        bool[] flags = reader.FindPerLayerFlags("attention.sliding_window_pattern", model.LayerCount)
            ?? throw reader.Error("attention.sliding_window_pattern", "attention.sliding_window_pattern must list a flag a layer.");
        Windows.RefuseOwnSizes(reader);
        Windows windows = new(reader.Integer("attention.sliding_window", 1, int.MaxValue), flags);
        AttentionTraits full = new()
        {
            Pairing = RopePairing.Halves,
            Rope = RopeTraits.WithoutFactors,
            Bias = Presence.Absent,
            IsScaled = false,
            Sinks = Presence.Optional,
            OutputScale = reader.Factor("attention.value_scale"),
        };
        AttentionTraits sliding = full with { Window = windows.Length, Rope = RopeTraits.Sliding(reader, fallbackBase: 10000, factor: 1) with { HasFrequencyFactors = false } };
        foreach (LayerBuilder layer in model.Layers)
        {
            bool hasExperts = reader.Has(layer.Name("ffn_gate_inp.weight"));
            // Files may hold these; llama.cpp reads them and passes over them.
            foreach (string unused in (string[])["attn_q.bias", "attn_k.bias", "attn_v.bias", "attn_qkv.bias"])
                reader.Ignore(layer.Name(unused));
            if (hasExperts)
                foreach (string unused in (string[])["ffn_gate.", "ffn_up.", "ffn_down."])
                    reader.Ignore(layer.Name(unused));
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(windows.IsSliding(layer.Index) ? sliding : full),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = hasExperts
                    ? layer.Experts(new ExpertTraits { Hidden = layer.NamedExpertHidden(), Gating = GatingFunction.Sigmoid, Normalize = true, SelectionBias = Presence.Optional })
                    : layer.Gated(),
            });
        }

        return model.Build();
    }
}
