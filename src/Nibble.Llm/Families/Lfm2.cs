using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>lfm2</c> and <c>lfm2moe</c>: gated short convolutions in the layers without KV heads, attention with normed heads in the others; experts after the first layers in the second.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/lfm2.cpp and lfm2moe.cpp.</remarks>
internal static class Lfm2
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { OutputNormName = "token_embd_norm" };
        bool hasExperts = reader.Architecture == "lfm2moe";
        int dense = hasExperts ? reader.Integer("leading_dense_block_count", 0, model.LayerCount, 0) : model.LayerCount;
        int kernel = reader.Integer("shortconv.l_cache", 2, 64);
        // The layers of an embedding model's own head: logits do not need them.
        reader.Ignore("dense_2.");
        AttentionTraits attention = new()
        {
            Pairing = RopePairing.Halves,
            QueryKeyNorm = HeadNorm.Head,
            Rope = new RopeTraits { HasFrequencyFactors = false },
            Window = hasExperts ? 0 : reader.Integer("attention.sliding_window", 0, int.MaxValue, 0),
        };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.KvHeads == 0 ? ShortConvolution(layer, kernel) : layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Index < dense
                    ? layer.Gated()
                    : layer.Experts(new ExpertTraits
                    {
                        Hidden = layer.ExpertHidden(),
                        Gating = layer.Gating(),
                        Normalize = true,
                        SelectionBias = Presence.Required,
                    }),
            });
        }

        return model.Build();
    }

    private static ShortConvolutionLayer ShortConvolution(LayerBuilder layer, int kernel)
    {
        int width = layer.Model.Width;
        return new ShortConvolutionLayer
        {
            StateIndex = layer.Model.AddState(kernel - 1, width),
            Input = layer.Reader.Matrix(layer.Name("shortconv.in_proj.weight"), width, 3 * width, isScaled: null),
            Kernel = layer.Reader.Vectors(layer.Name("shortconv.conv.weight"), kernel, width),
            Output = layer.Reader.Matrix(layer.Name("shortconv.out_proj.weight"), width, width, isScaled: null),
        };
    }
}
