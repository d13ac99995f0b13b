using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>cohere2moe</c>: attention and network side by side after one norm, sliding windows in three of four layers, RoPE there and in the dense first layers, experts averaged with a shared network.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/cohere2moe.cpp.</remarks>
internal static class Cohere2Moe
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        bool isRms = reader.Number("attention.layer_norm_rms_epsilon", 0) != 0;
        DecoderBuilder model = new(reader, isRms ? NormKind.Rms : NormKind.Layer)
        {
            LogitScale = reader.Number("logit_scale") is not 0 and float scale ? scale : 1,
            Scales = NetworkScales.Dense | NetworkScales.Experts | NetworkScales.Shared,
        };
        Windows windows = Windows.Read(reader, model.LayerCount, period: 4, fallback: null, isFirstDense: true);
        AttentionTraits full = new() { Pairing = null, Rope = RopeTraits.Whole };
        AttentionTraits turned = full with { Pairing = RopePairing.Adjacent };
        int dense = reader.Integer("leading_dense_block_count", 0, model.LayerCount), shared = reader.Integer("expert_shared_count", 0, 1024, 0);
        int sharedHidden = reader.Integer("expert_shared_feed_forward_length", 0, 1 << 20, 0);
        foreach (LayerBuilder layer in model.Layers)
        {
            bool isSliding = windows.IsSliding(layer.Index), isDense = layer.Index < dense;
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention((isSliding || isDense ? turned : full) with { Window = isSliding ? windows.Length : 0 }),
                IsParallel = true,
                FeedForward = isDense ? layer.Gated() : Experts(layer, shared, sharedHidden),
            });
        }

        return model.Build();
    }

    private static ExpertFeedForward Experts(LayerBuilder layer, int shared, int sharedHidden)
    {
        ModelReader reader = layer.Reader;
        int named = reader.PerLayer("expert_feed_forward_length", layer.Model.LayerCount, 0, 1 << 20)[layer.Index], hidden = named > 0 ? named : layer.Hidden;
        return layer.Experts(new ExpertTraits
        {
            Hidden = hidden,
            Gating = layer.Gating(GatingFunction.Sigmoid),
            Normalize = reader.Flag("expert_weights_norm", false),
            Scale = layer.ExpertScale(),
            Shared = layer.Shared(shared == 0 ? 0 : sharedHidden > 0 ? sharedHidden : shared * hidden),
            SumScale = shared == 0 ? 1 : 0.5f,
        });
    }
}
