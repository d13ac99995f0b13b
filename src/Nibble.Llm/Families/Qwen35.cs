using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>qwen3next</c>, <c>qwen35</c> and <c>qwen35moe</c>: gated delta nets, and every few layers attention with a gated output; all but the second with experts and a shared one.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/qwen3next.cpp, qwen35.cpp and qwen35moe.cpp.</remarks>
internal static class Qwen35
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        bool isNext = reader.Architecture == "qwen3next", hasExperts = reader.Architecture != "qwen35";
        DecoderBuilder model = new(reader) { Scales = NetworkScales.Dense | NetworkScales.Experts | NetworkScales.Shared };
        AttentionTraits attention = new()
        {
            Pairing = RopePairing.Halves,
            QueryKeyNorm = HeadNorm.Head,
            Gate = OutputGate.InQuery,
            Rope = (isNext ? RopeTraits.Plain : RopeTraits.Axes(reader, isInterleaved: true)) with { HasFrequencyFactors = false },
        };
        bool[] recurrent = RecurrentLayers(reader, model.LayerCount);
        int sharedHidden = hasExperts ? reader.Integer("expert_shared_feed_forward_length", 0, 1 << 20, 0) : 0;
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = recurrent[layer.Index] ? DeltaNet(layer, isNext) : layer.Attention(attention),
                FeedForwardNorm = layer.Norm("post_attention_norm"),
                FeedForward = !hasExperts ? layer.Gated() : layer.Experts(new ExpertTraits
                {
                    Hidden = layer.ExpertHidden(),
                    Normalize = true,
                    Shared = layer.Gated(hidden: sharedHidden > 0 ? sharedHidden : layer.Hidden, suffix: "_shexp"),
                    HasSharedGate = true,
                }),
            });
        }

        return model.Build();
    }

    private static bool[] RecurrentLayers(ModelReader reader, int layers)
    {
        if (reader.FindPerLayerFlags("attention.recurrent_layers", layers) is { } flags) return flags;
        int interval = reader.Integer("full_attention_interval", 1, 1024, 4);
        return [.. Enumerable.Range(1, layers).Select(number => number % interval != 0)];
    }

    private static DeltaNetLayer DeltaNet(LayerBuilder layer, bool isNext)
    {
        ModelReader reader = layer.Reader;
        DecoderBuilder model = layer.Model;
        int kernel = reader.Integer("ssm.conv_kernel", 2, 64), size = reader.Integer("ssm.state_size", 1, 4096);
        int heads = reader.Integer("ssm.time_step_rank", 1, 4096), keyHeads = reader.Integer("ssm.group_count", 1, 4096);
        int inner = reader.Width("ssm.inner_size"), mixed = (2 * keyHeads * size) + inner;
        if (inner != heads * size)
            throw reader.Error("ssm.inner_size", $"ssm.inner_size is {inner}; it must be ssm.time_step_rank x ssm.state_size, {heads} x {size}.");
        if (heads % keyHeads != 0)
            throw reader.Error("ssm.time_step_rank", $"{heads} heads cannot share {keyHeads} key heads (ssm.group_count); they must be a multiple.");
        // Scales beside these matrices count in Qwen3.5 only.
        Weight Matrix(string name, int rows, bool? isScaled) => reader.Matrix(layer.Name(name), model.Width, rows, isScaled);
        DeltaNetLayout layout = !isNext ? DeltaNetLayout.Split : reader.Has(layer.Name("attn_qkv.weight")) ? DeltaNetLayout.FusedSteps : DeltaNetLayout.Fused;
        // Of both forms of the first matrix llama.cpp takes the split one.
        if (layout == DeltaNetLayout.FusedSteps) reader.Ignore(layer.Name("ssm_in."));
        return new DeltaNetLayer
        {
            ConvolutionIndex = model.AddState(kernel - 1, mixed),
            StateIndex = model.AddState(inner, size),
            Heads = heads,
            KeyHeads = keyHeads,
            HeadSize = size,
            IsInterleaved = !isNext,
            Layout = layout,
            Projections = layout switch
            {
                DeltaNetLayout.Split =>
                [
                    Matrix("attn_qkv.weight", mixed, true),
                    Matrix("attn_gate.weight", inner, true),
                    Matrix("ssm_beta.weight", heads, true),
                    Matrix("ssm_alpha.weight", heads, true),
                ],
                DeltaNetLayout.FusedSteps => [Matrix("attn_qkv.weight", mixed, false), Matrix("attn_gate.weight", inner, false), Matrix("ssm_ba.weight", 2 * heads, null)],
                _ => [Matrix("ssm_in.weight", mixed + inner, false), Matrix("ssm_ba.weight", 2 * heads, null)],
            },
            Kernels = [reader.Vectors(layer.Name("ssm_conv1d.weight"), kernel, mixed)],
            StepBias = reader.Vector(layer.Name("ssm_dt.bias"), heads),
            Rates = reader.Vector(layer.Name("ssm_a"), heads),
            KeyNorm = new Norm(new NormOptions(NormKind.Rms, model.NormEpsilon / size, size), null, null),
            OutputNorm = model.Norm(layer.Name("ssm_norm"), size, size),
            Output = reader.Matrix(layer.Name("ssm_out.weight"), inner, model.Width, !isNext),
        };
    }
}
