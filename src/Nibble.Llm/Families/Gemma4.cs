using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary>
/// <c>gemma4</c>: as gemma3, with unscaled scores, normed values, heads and RoPE of sliding layers' own, last layers that reuse the keys and values of earlier ones, inputs of each layer's own, and
/// experts beside the dense network.
/// </summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/gemma4.cpp.</remarks>
internal static class Gemma4
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader)
        {
            EmbeddingScale = MathF.Sqrt(reader.Width("embedding_length")),
            LogitSoftCap = reader.Number("final_logit_softcapping", 30),
            Scales = NetworkScales.Dense | NetworkScales.Experts,
        };
        int size = reader.Integer("embedding_length_per_layer_input", 0, 1 << 16);
        if (size > 0)
        {
            model.LayerInputs = new LayerInputs
            {
                Table = reader.Table("per_layer_token_embd.weight", size * model.LayerCount, model.Vocabulary),
                Projection = reader.Matrix("per_layer_model_proj.weight", model.Width, size * model.LayerCount, isScaled: null),
                Norm = model.Norm("per_layer_proj_norm", size, size),
            };
        }

        int own = model.LayerCount - reader.Integer("attention.shared_kv_layers", 0, model.LayerCount - 1, 0);
        Windows windows = Windows.Read(reader, model.LayerCount, period: 5, hasOwnSizes: true);
        AttentionTraits full = new() { Pairing = RopePairing.Halves, QueryKeyNorm = HeadNorm.Head, IsValueNormed = true, Values = Presence.Optional, Bias = Presence.Absent, Scale = 1 };
        AttentionTraits sliding = full with
        {
            Window = windows.Length,
            KeySize = reader.Integer("attention.key_length_swa", 1, 4096),
            ValueSize = reader.Integer("attention.value_length_swa", 1, 4096),
            Rope = RopeTraits.Sliding(reader, fallbackBase: 10000, factor: 1) with
            {
                HasFrequencyFactors = false,
                Dimensions = reader.HasKey("rope.dimension_count_swa") ? reader.Integer("rope.dimension_count_swa", 2, 4096) : null,
            },
        };
        int[] places = new int[model.LayerCount];
        foreach (LayerBuilder layer in model.Layers)
        {
            bool isSliding = windows.IsSliding(layer.Index);
            AttentionTraits traits = isSliding ? sliding : full;
            if (layer.Index >= own)
            {
                int source = own - (isSliding ? 2 : 1);
                if (source < 0 || windows.IsSliding(source) != isSliding)
                    throw reader.Error("attention.shared_kv_layers", $"layer {layer.Index} is to reuse the keys of layer {source}, which has another window.");
                traits = traits with { SharedKv = places[source] };
                // Files may still hold the matrices that such a layer had before it was taught to reuse.
                foreach (string unused in (string[])["attn_k.", "attn_v.", "attn_k_norm."])
                    reader.Ignore(layer.Name(unused));
            }

            AttentionLayer attention = layer.Attention(traits);
            places[layer.Index] = attention.KvIndex;
            bool hasExperts = reader.Has(layer.Name("ffn_gate_inp.weight"));
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = attention,
                MixerPostNorm = layer.Norm("post_attention_norm"),
                FeedForwardNorm = hasExperts ? null : layer.Norm("ffn_norm"),
                FeedForward = hasExperts ? DenseAndExperts(layer) : layer.Gated(Activation.Gelu),
                FeedForwardPostNorm = layer.Norm("post_ffw_norm"),
                Input = size == 0 ? null : new LayerInput
                {
                    Index = layer.Index,
                    Gate = reader.Matrix(layer.Name("inp_gate.weight"), model.Width, size, isScaled: null),
                    Projection = reader.Matrix(layer.Name("proj.weight"), size, model.Width, isScaled: null),
                    PostNorm = layer.Norm("post_norm"),
                },
                OutputScale = reader.Floats(layer.Name("layer_output_scale.weight"), 1) is [float scale] ? scale : 1,
            });
        }

        return model.Build();
    }

    // The router reads the state itself, normed with a gain that the file calls a scale.
    private static SumFeedForward DenseAndExperts(LayerBuilder layer)
    {
        DecoderBuilder model = layer.Model;
        Norm routerNorm = new(new NormOptions(NormKind.Rms, model.NormEpsilon), layer.Reader.Vector(layer.Name("ffn_gate_inp.scale"), model.Width), null);
        ExpertFeedForward experts = layer.Experts(new ExpertTraits
        {
            Hidden = layer.ExpertHidden(),
            Activation = Activation.Gelu,
            Normalize = true,
            RouterNorm = routerNorm,
            RouterScale = 1 / MathF.Sqrt(model.Width),
            InputNorm = layer.Norm("pre_ffw_norm_2"),
        });
        return new SumFeedForward(
            model.Width,
            new Branch(layer.Norm("ffn_norm"), layer.Gated(Activation.Gelu), layer.Norm("post_ffw_norm_1")),
            new Branch(null, experts, layer.Norm("post_ffw_norm_2")));
    }
}
