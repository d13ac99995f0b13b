using Nibble.Core.Compute;
using Nibble.Llm.Layers;

namespace Nibble.Llm.Models;

/// <summary>Puts the state space layers together that several architectures share.</summary>
/// <remarks>Keys and tensors: llama.cpp v0.5.0, src/models/mamba-base.cpp and the files of the architectures.</remarks>
internal static class StateSpaceBuilder
{
    /// <summary>Mamba-2.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="kernelBias">Bias of the convolution.</param>
    /// <param name="norm">Norm of the gated output.</param>
    /// <param name="isDoubled">Whether the heads' values must be twice the model's width.</param>
    public static Mamba2Layer Mamba2(LayerBuilder layer, Presence kernelBias = Presence.Optional, Presence norm = Presence.Required, bool isDoubled = false)
    {
        ModelReader reader = layer.Reader;
        DecoderBuilder model = layer.Model;
        int kernel = reader.Integer("ssm.conv_kernel", 2, 64), state = reader.Integer("ssm.state_size", 1, 4096), inner = InnerSize(layer, isDoubled);
        int heads = reader.Integer("ssm.time_step_rank", 1, inner), groups = reader.Integer("ssm.group_count", 1, inner);
        if (inner % heads != 0 || heads % groups != 0)
            throw reader.Error("ssm.time_step_rank", $"ssm.inner_size {inner}, ssm.time_step_rank {heads} and ssm.group_count {groups} do not fit: each must be a multiple of the next.");
        int mixed = inner + (2 * groups * state);
        string normName = layer.Name("ssm_norm");
        return new Mamba2Layer
        {
            ConvolutionIndex = model.AddState(kernel - 1, mixed),
            StateIndex = model.AddState(inner, state),
            InnerWidth = inner,
            GroupWidth = groups * state,
            Input = reader.Matrix(layer.Name("ssm_in.weight"), model.Width, inner + mixed + heads),
            Kernel = reader.Vectors(layer.Name("ssm_conv1d.weight"), kernel, mixed),
            KernelBias = reader.Vector(layer.Name("ssm_conv1d.bias"), mixed, kernelBias),
            StepBias = reader.Vector(layer.Name("ssm_dt.bias"), heads),
            Rates = reader.Vectors(layer.Name("ssm_a"), 1, heads),
            Skips = reader.Vectors(layer.Name("ssm_d"), 1, heads),
            OutputNorm = norm == Presence.Required || reader.Has(normName + ".weight")
                ? new Norm(new NormOptions(NormKind.Rms, model.NormEpsilon, inner / groups), reader.Vectors(normName + ".weight", inner / groups, groups), null)
                : null,
            Output = reader.Matrix(layer.Name("ssm_out.weight"), inner, model.Width),
        };
    }

    /// <summary>Mamba.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="isNormed">Whether steps, B and C are normed.</param>
    /// <param name="hasGains">Whether those norms have gains.</param>
    public static MambaLayer Mamba(LayerBuilder layer, bool isNormed, bool hasGains)
    {
        ModelReader reader = layer.Reader;
        DecoderBuilder model = layer.Model;
        int kernel = reader.Integer("ssm.conv_kernel", 2, 64), state = reader.Integer("ssm.state_size", 1, 4096), inner = InnerSize(layer, isDoubled: true);
        int rank = reader.Integer("ssm.time_step_rank", 1, inner);
        Norm? Norm(string name, int size) => !isNormed ? null : hasGains ? model.Norm(layer.Name(name), size, 0) : new Norm(new NormOptions(model.NormKind, model.NormEpsilon), null, null);
        return new MambaLayer
        {
            ConvolutionIndex = model.AddState(kernel - 1, inner),
            StateIndex = model.AddState(inner, state),
            StateSize = state,
            Input = reader.Matrix(layer.Name("ssm_in.weight"), model.Width, 2 * inner),
            Kernel = reader.Vectors(layer.Name("ssm_conv1d.weight"), kernel, inner),
            KernelBias = reader.Vector(layer.Name("ssm_conv1d.bias"), inner),
            Selection = reader.Matrix(layer.Name("ssm_x.weight"), inner, rank + (2 * state), isScaled: null),
            StepNorm = Norm("ssm_dt_norm", rank),
            InputNorm = Norm("ssm_b_norm", state),
            OutputNorm = Norm("ssm_c_norm", state),
            Steps = layer.Linear("ssm_dt", rank, inner, Presence.Required, isScaled: null),
            Rates = reader.Vectors(layer.Name("ssm_a"), state, inner),
            Skips = reader.Vector(layer.Name("ssm_d"), inner),
            Output = reader.Matrix(layer.Name("ssm_out.weight"), inner, model.Width),
        };
    }

    private static int InnerSize(LayerBuilder layer, bool isDoubled)
    {
        int inner = layer.Reader.Width("ssm.inner_size");
        return !isDoubled || inner == 2 * layer.Model.Width
            ? inner
            : throw layer.Reader.Error("ssm.inner_size", $"ssm.inner_size is {inner}; {layer.Reader.Architecture} needs twice the embedding_length, {2 * layer.Model.Width}.");
    }
}
