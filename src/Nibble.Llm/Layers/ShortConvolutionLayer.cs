using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>A gated short convolution: with [b, c, u] = input projection of x, y = output projection of (c x convolution of (b x u)).</summary>
/// <remarks>LFM2 (Liquid AI, arXiv 2511.23404). The state is the last rows of b x u.</remarks>
internal sealed class ShortConvolutionLayer : Mixer
{
    /// <summary>Which of the sequence's states: [kernel - 1 x width].</summary>
    public required int StateIndex { get; init; }

    /// <summary>[3 width x width].</summary>
    public required Weight Input { get; init; }

    /// <summary>[kernel] a channel.</summary>
    public required Weight Kernel { get; init; }

    /// <summary>[width x width].</summary>
    public required Weight Output { get; init; }

    /// <inheritdoc/>
    public override int WorkColumns => Input.Rows;

    /// <inheritdoc/>
    public override void Run(in Step step, in NormedInput x, Tensor y)
    {
        Backend backend = step.Backend;
        int width = Output.Columns;
        Tensor all = step.Scratch.Take(x.Rows, Input.Rows);
        Tensor b = all.SliceColumns(0, width), c = all.SliceColumns(width, width), u = all.SliceColumns(2 * width, width);
        x.MatMul(backend, Input, all);
        backend.GatedActivation(Activation.Identity, b, u, b);
        backend.Convolve(b, Kernel, null, Activation.Identity, step.Sequence.States[StateIndex], u);
        backend.MatMulGated(Activation.Identity, c, u, c, Output, y);
    }
}
