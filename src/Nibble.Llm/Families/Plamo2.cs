using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>plamo2</c>: Mamba with heads in the layers without KV heads, attention with a gain for each head's norm in the others, norms after both blocks.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/plamo2.cpp.</remarks>
internal static class Plamo2
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        AttentionTraits attention = new()
        {
            Pairing = RopePairing.Halves,
            Rope = new RopeTraits { HasFrequencyFactors = false },
            Bias = Presence.Absent,
            QueryKeyNorm = HeadNorm.EachHead,
            Scale = 1 / MathF.Sqrt(reader.Integer("attention.value_length", 1, 4096, model.Width / Math.Max(1, model.Heads.Max()))),
        };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.KvHeads == 0 ? Mamba(layer) : layer.Attention(attention),
                MixerPostNorm = layer.BareNorm("post_attention_norm"),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Fused(),
                FeedForwardPostNorm = layer.BareNorm("post_ffw_norm"),
            });
        }

        return model.Build();
    }

    private static MambaLayer Mamba(LayerBuilder layer)
    {
        ModelReader reader = layer.Reader;
        DecoderBuilder model = layer.Model;
        int kernel = reader.Integer("ssm.conv_kernel", 2, 64), state = reader.Integer("ssm.state_size", 1, 4096), inner = reader.Width("ssm.inner_size");
        int heads = reader.Integer("ssm.time_step_rank", 1, inner), rank = Math.Max(64, model.Width / 16);
        if (inner % heads != 0)
            throw reader.Error("ssm.time_step_rank", $"ssm.inner_size {inner} cannot be shared among {heads} heads; it must be a multiple.");
        if (reader.Integer("ssm.group_count", 0, int.MaxValue) is not 0 and int groups)
            throw reader.Error("ssm.group_count", $"ssm.group_count is {groups}; plamo2 needs 0.");
        return new MambaLayer
        {
            ConvolutionIndex = model.AddState(kernel - 1, inner),
            StateIndex = model.AddState(inner, state),
            StateSize = state,
            IsInTurn = true,
            Input = reader.Matrix(layer.Name("ssm_in.weight"), model.Width, 2 * inner, isScaled: false),
            Kernel = reader.Vectors(layer.Name("ssm_conv1d.weight"), kernel, inner),
            Selection = reader.Matrix(layer.Name("ssm_x.weight"), inner, rank + (2 * state), isScaled: null),
            StepNorm = layer.BareNorm("ssm_dt_norm", rank),
            InputNorm = layer.BareNorm("ssm_b_norm", state),
            OutputNorm = layer.BareNorm("ssm_c_norm", state),
            Steps = layer.Linear("ssm_dt", rank, heads, Presence.Required, isScaled: null),
            Rates = reader.Vector(layer.Name("ssm_a"), heads),
            Skips = reader.Vector(layer.Name("ssm_d"), heads),
            Output = reader.Matrix(layer.Name("ssm_out.weight"), inner, model.Width, isScaled: false),
        };
    }
}
