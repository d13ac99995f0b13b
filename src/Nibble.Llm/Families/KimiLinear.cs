using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>kimi-linear</c>: Kimi Delta Attention in the layers without KV heads, latent attention without RoPE in the others, experts with a shared one after the first layers.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/kimi-linear.cpp.</remarks>
internal static class KimiLinear
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { Output = Presence.Required };
        int size = reader.Integer("attention.key_length_mla", 1, 4096);
        LatentAttentionTraits attention = new()
        {
            QueryRank = 0,
            Rank = reader.Width("attention.kv_lora_rank"),
            HeadSize = size,
            TurnedSize = reader.Integer("rope.dimension_count", 2, size),
            ValueSize = reader.Integer("attention.value_length_mla", 1, 4096),
            IsAbsorbed = true,
            Pairing = null,
            Scale = 1 / MathF.Sqrt(size),
        };
        int dense = reader.Integer("leading_dense_block_count", 0, model.LayerCount, 0);
        int shared = Math.Max(1, reader.Integer("expert_shared_count", 0, 1024));
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.KvHeads == 0 ? DeltaAttention(layer) : attention.Build(layer),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Index < dense
                    ? layer.Gated()
                    : layer.Experts(layer.KeyedExperts() with { Normalize = true, SelectionBias = Presence.Required, Shared = layer.Shared(shared * layer.ExpertHidden()) }),
            });
        }

        return model.Build();
    }

    private static KimiDeltaLayer DeltaAttention(LayerBuilder layer)
    {
        ModelReader reader = layer.Reader;
        DecoderBuilder model = layer.Model;
        int kernel = reader.Integer("ssm.conv_kernel", 2, 64), size = reader.Integer("kda.head_dim", 1, 4096), heads = model.Heads[0], inner = heads * size;
        if (heads == 0) throw reader.Error("attention.head_count", $"{reader.Architecture}.attention.head_count is 0 for the first layer; it must be 1 or more.");
        Weight Matrix(string name, int columns, int rows, bool? isScaled = null) => reader.Matrix(layer.Name(name + ".weight"), columns, rows, isScaled);
        string[] parts = ["q", "k", "v"];
        // llama.cpp loads these biases and does not use them.
        foreach (string part in parts)
            reader.Ignore(layer.Name($"attn_{part}.bias"));
        reader.Ignore(layer.Name("attn_qkv.bias"));
        return new KimiDeltaLayer
        {
            ConvolutionIndex = model.AddState(kernel - 1, 3 * inner),
            StateIndex = model.AddState(inner, size),
            Heads = heads,
            KeyHeads = heads,
            HeadSize = size,
            Projections = reader.Has(layer.Name("attn_qkv.weight"))
                ? [Matrix("attn_qkv", model.Width, 3 * inner, isScaled: false)]
                : [.. parts.Select(part => Matrix("attn_" + part, model.Width, inner, isScaled: false))],
            Betas = Matrix("ssm_beta", model.Width, heads, isScaled: false),
            StepsDown = Matrix("ssm_f_a", model.Width, size),
            StepsUp = Matrix("ssm_f_b", size, inner),
            GatesDown = Matrix("ssm_g_a", model.Width, size),
            GatesUp = Matrix("ssm_g_b", size, inner),
            Kernels = [.. parts.Select(part => reader.Kernels(layer.Name($"ssm_conv1d_{part}.weight"), kernel, inner))],
            StepBias = reader.Vector(layer.Name("ssm_dt.bias"), inner),
            Rates = reader.Vectors(layer.Name("ssm_a"), 1, heads),
            KeyNorm = new Norm(new NormOptions(NormKind.Rms, model.NormEpsilon / size, size), null, null),
            OutputNorm = model.Norm(layer.Name("ssm_norm"), size, size),
            GateActivation = Activation.Sigmoid,
            Output = Matrix("attn_output", inner, model.Width, isScaled: false),
        };
    }
}
