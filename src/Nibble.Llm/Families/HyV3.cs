using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>hy_v3</c>: queries and keys normed head by head, dense layers and layers of experts with a shared one and a bias of the choice.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/hy-v3.cpp.</remarks>
internal static class HyV3
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { Scales = NetworkScales.Dense | NetworkScales.Experts | NetworkScales.Shared };
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.Whole, QueryKeyNorm = HeadNorm.Head };
        int shared = reader.Integer("expert_shared_feed_forward_length", 0, 1 << 20, 0);
        foreach (LayerBuilder layer in model.Layers)
        {
            bool hasExperts = reader.Has(layer.Name("ffn_gate_inp.weight"));
            // Files may hold a dense network beside the experts; llama.cpp reads it and passes over it.
            if (hasExperts)
                foreach (string unused in (string[])["ffn_gate.", "ffn_up.", "ffn_down."])
                    reader.Ignore(layer.Name(unused));
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = !hasExperts
                    ? layer.Gated()
                    : layer.Experts(layer.KeyedExperts(GatingFunction.Sigmoid) with
                    {
                        SelectionBiasName = "exp_probs_b",
                        Shared = layer.Shared(shared > 0 ? shared : layer.ExpertHidden()),
                    }),
            });
        }

        return model.Build();
    }
}
