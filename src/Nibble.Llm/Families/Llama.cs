using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary>
/// <c>llama</c>: Llama 1 to 3.3, Mistral 7B, SmolLM and SmolLM2, TinyLlama, Mixtral. Pre-norm, RMS norm, RoPE over neighbours, gated SiLU network or softmax-routed
/// experts with normalized weights; optional biases, scales, frequency factors and tied embeddings.
/// </summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/llama.cpp; it does not read <c>attention.scale</c> and <c>expert_weights_scale</c> for this architecture.</remarks>
internal static class Llama
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { Scales = NetworkScales.Dense | NetworkScales.Experts };
        AttentionTraits attention = new() { Pairing = RopePairing.Adjacent, OutputBias = Presence.Optional };
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
