using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>llama4</c>: chunked windows in three of four layers; every fourth layer without RoPE, with queries that grow with the position; experts whose inputs are weighed, with a shared one.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/llama4.cpp.</remarks>
internal static class Llama4
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        // The number of the file is passed over, but that 0 would be no windows, which llama.cpp does not run.
        if (reader.HasKey("attention.sliding_window")) reader.Integer("attention.sliding_window", 1, int.MaxValue);
        Windows windows = Windows.Read(reader, model.LayerCount, period: 4, fallback: 8192) with { Length = 8192 };
        AttentionTraits straight = new() { Pairing = null, Temperature = new QueryTemperature(0.1f, 8192, 1) };
        AttentionTraits turned = new()
        {
            Pairing = RopePairing.Adjacent,
            Rope = RopeTraits.Plain with { IsWhole = true },
            QueryKeyNorm = reader.Integer("expert_count", 1, 1024) == 128 ? HeadNorm.None : HeadNorm.HeadWithoutGain,
            IsNormedAfterRope = true,
        };
        int step = reader.Integer("interleave_moe_layer_step", 0, model.LayerCount);
        foreach (LayerBuilder layer in model.Layers)
        {
            bool isSliding = windows.IsSliding(layer.Index);
            AttentionTraits traits = (layer.Index + 1) % 4 == 0 ? straight : isSliding ? turned with { Rope = RopeTraits.Sliding(reader) with { IsWhole = true } } : turned;
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(isSliding ? traits with { Window = windows.Length, IsChunked = true } : traits),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = step == 0 || (layer.Index + 1) % step != 0
                    ? layer.Gated()
                    : layer.Experts(new ExpertTraits
                    {
                        Hidden = layer.NamedExpertHidden(),
                        Gating = GatingFunction.Sigmoid,
                        IsInputWeighted = true,
                        Shared = layer.Shared(layer.NamedExpertHidden()),
                    }),
            });
        }

        return model.Build();
    }
}
