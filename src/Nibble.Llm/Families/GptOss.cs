using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>gpt-oss</c>: attention sinks, every second layer with a sliding window, biases everywhere, experts whose weights are the softmax of the chosen logits.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/openai-moe.cpp.</remarks>
internal static class GptOss
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { Output = Presence.Required };
        Windows windows = Windows.Read(reader, model.LayerCount, period: 2);
        int size = reader.Integer("rope.dimension_count", 2, 4096, model.Width / Math.Max(1, model.Heads[0]));
        AttentionTraits attention = new()
        {
            Pairing = RopePairing.Halves,
            OutputBias = Presence.Required,
            Sinks = Presence.Required,
            KeySize = size,
            ValueSize = size,
        };
        AttentionTraits sliding = attention with { Window = windows.Length, Rope = RopeTraits.Sliding(reader) };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(windows.IsSliding(layer.Index) ? sliding : attention),
                FeedForwardNorm = layer.Norm("post_attention_norm"),
                FeedForward = layer.Experts(new ExpertTraits
                {
                    Hidden = layer.ExpertHidden(),
                    Activation = Activation.SwigluOai,
                    Gating = GatingFunction.SoftmaxOfChosen,
                    Bias = Presence.Required,
                    RouterBias = Presence.Required,
                }),
            });
        }

        return model.Build();
    }
}
