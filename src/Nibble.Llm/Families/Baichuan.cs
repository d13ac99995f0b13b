using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>baichuan</c>: as llama; the 13B model, known by its 40 layers, has ALiBi instead of RoPE.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/baichuan.cpp.</remarks>
internal static class Baichuan
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { Output = Presence.Required };
        AttentionTraits attention = model.LayerCount switch
        {
            32 => new AttentionTraits { Pairing = RopePairing.Adjacent, Rope = RopeTraits.Whole },
            40 => new AttentionTraits { Pairing = null, AlibiBias = 8 },
            _ => throw reader.Error("block_count", $"the model has {model.LayerCount} layers; of baichuan those with 32 (RoPE) and 40 (ALiBi) are known, and the file does not say which one this is."),
        };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Gated(),
            });
        }

        return model.Build();
    }
}
