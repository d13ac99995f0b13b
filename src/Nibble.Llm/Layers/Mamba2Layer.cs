using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>Mamba-2: one projection to gates, values, B, C and steps; short convolution of values, B and C; the scan; a gated, grouped norm.</summary>
/// <remarks>Dao and Gu, arXiv 2405.21060. States: the last rows that were convolved, and the heads' states.</remarks>
internal sealed class Mamba2Layer : Mixer
{
    /// <summary>Which of the sequence's states: [kernel - 1 x values, B and C].</summary>
    public required int ConvolutionIndex { get; init; }

    /// <summary>Which of the sequence's states: [values x state size].</summary>
    public required int StateIndex { get; init; }

    /// <summary>Values of all heads.</summary>
    public required int InnerWidth { get; init; }

    /// <summary>B, or C, of all groups.</summary>
    public required int GroupWidth { get; init; }

    /// <summary>[gates, values, B, C, steps].</summary>
    public required Weight Input { get; init; }

    /// <summary>[kernel] a channel.</summary>
    public required Weight Kernel { get; init; }

    /// <summary>[values, B and C], or null.</summary>
    public Weight? KernelBias { get; init; }

    /// <summary>[heads] added to the steps before softplus.</summary>
    public required Weight StepBias { get; init; }

    /// <summary>[heads] rates of decay, negative.</summary>
    public required Weight Rates { get; init; }

    /// <summary>[heads] what of a value goes past the state.</summary>
    public required Weight Skips { get; init; }

    /// <summary>Norm of the gated output, or null.</summary>
    public Norm? OutputNorm { get; init; }

    /// <summary>The last matrix.</summary>
    public required Weight Output { get; init; }

    /// <inheritdoc/>
    public override int WorkColumns => Input.Rows + Kernel.Rows;

    /// <inheritdoc/>
    public override void Run(in Step step, in NormedInput x, Tensor y)
    {
        Backend backend = step.Backend;
        int mixed = Kernel.Rows, heads = StepBias.Columns;
        Tensor all = step.Scratch.Take(x.Rows, Input.Rows), convolved = step.Scratch.Take(x.Rows, mixed);
        x.MatMul(backend, Input, all);
        backend.Convolve(all.SliceColumns(InnerWidth, mixed), Kernel, KernelBias, Activation.Silu, step.Sequence.States[ConvolutionIndex], convolved);
        Tensor steps = all.SliceColumns(InnerWidth + mixed, heads), output = all.SliceColumns(InnerWidth, InnerWidth);
        backend.AddBias(steps, StepBias);
        backend.Activate(Activation.Softplus, steps, steps);
        backend.StateSpaceScan(
            convolved.SliceColumns(0, InnerWidth),
            steps,
            Rates,
            convolved.SliceColumns(InnerWidth, GroupWidth),
            convolved.SliceColumns(InnerWidth + GroupWidth, GroupWidth),
            Skips,
            step.Sequence.States[StateIndex],
            output);
        GatedProduct.Run(backend, Activation.Silu, all.SliceColumns(0, InnerWidth), output, output, OutputNorm, Output, y);
    }
}
