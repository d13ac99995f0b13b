using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>chatglm</c>: ChatGLM 3 and GLM-4 9B of 2024. Partial RoPE over neighbours, gate and up in one matrix.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/chatglm.cpp.</remarks>
internal static class ChatGlm
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        AttentionTraits attention = new() { Pairing = RopePairing.Adjacent, Rope = RopeTraits.WithoutFactors };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Fused(),
            });
        }

        return model.Build();
    }
}
