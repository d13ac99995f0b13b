using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>mistral3</c>: as llama, with YaRN by the file's own numbers and queries that grow with the position.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/mistral3.cpp; it does not read <c>attention.scale</c> and <c>expert_weights_scale</c> for this architecture.</remarks>
internal static class Mistral3
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { Scales = NetworkScales.Dense | NetworkScales.Experts };
        AttentionTraits attention = new()
        {
            Pairing = RopePairing.Adjacent,
            OutputBias = Presence.Optional,
            Temperature = new QueryTemperature(reader.Number("attention.temperature_scale", 0), Rotations.OriginalContext(reader), 0),
            Rope = RopeTraits.Yarn(reader),
        };
        bool hasExperts = reader.Integer("expert_count", 0, 1024, 0) > 0;
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = hasExperts ? layer.Experts(new ExpertTraits { Normalize = true }) : layer.Gated(bias: Presence.Optional),
            });
        }

        return model.Build();
    }
}
