using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>hunyuan-moe</c>: queries and keys normed head by head after RoPE, experts as wide as the network, with a shared one.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/hunyuan-moe.cpp.</remarks>
internal static class HunyuanMoe
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.Whole, QueryKeyNorm = HeadNorm.Head, IsNormedAfterRope = true };
        int shared = reader.Integer("expert_shared_feed_forward_length", 0, 1 << 20, 0);
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Experts(new ExpertTraits { Normalize = true, Shared = layer.Shared(shared > 0 ? shared : layer.Hidden) }),
            });
        }

        return model.Build();
    }
}
