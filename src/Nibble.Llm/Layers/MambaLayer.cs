using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>Mamba: projection to values and gates; short convolution of the values, from which steps, B and C follow; the scan; gates.</summary>
/// <remarks>
/// Gu and Dao, arXiv 2312.00752; the norms of steps, B and C are Jamba's (arXiv 2403.19887), heads of several values with one rate PLaMo 2's (arXiv 2509.04897). States: the last rows that were
/// convolved, and the values' states.
/// </remarks>
internal sealed class MambaLayer : Mixer
{
    /// <summary>Which of the sequence's states: [kernel - 1 x values].</summary>
    public required int ConvolutionIndex { get; init; }

    /// <summary>Which of the sequence's states: [values x state size].</summary>
    public required int StateIndex { get; init; }

    /// <summary>Values of a head's state.</summary>
    public required int StateSize { get; init; }

    /// <summary>Whether <see cref="Input"/> gives the gates, then the values of each head in turn, and <see cref="Selection"/> B and C before the steps (PLaMo 2).</summary>
    public bool IsInTurn { get; init; }

    /// <summary>[values, gates], or by <see cref="IsInTurn"/>.</summary>
    public required Weight Input { get; init; }

    /// <summary>[kernel] a channel.</summary>
    public required Weight Kernel { get; init; }

    /// <summary>[values], or null.</summary>
    public Weight? KernelBias { get; init; }

    /// <summary>[steps of low rank, B, C], or by <see cref="IsInTurn"/>.</summary>
    public required Weight Selection { get; init; }

    /// <summary>Norm of the steps of low rank, or null.</summary>
    public Norm? StepNorm { get; init; }

    /// <summary>Norm of B, or null.</summary>
    public Norm? InputNorm { get; init; }

    /// <summary>Norm of C, or null.</summary>
    public Norm? OutputNorm { get; init; }

    /// <summary>[heads x steps of low rank], and what is added to the steps before softplus.</summary>
    public required Linear Steps { get; init; }

    /// <summary>[state size] or [1] a head: rates of decay, negative.</summary>
    public required Weight Rates { get; init; }

    /// <summary>[heads] what of a value goes past the state.</summary>
    public required Weight Skips { get; init; }

    /// <summary>The last matrix.</summary>
    public required Weight Output { get; init; }

    /// <inheritdoc/>
    public override int WorkColumns => Input.Rows + (2 * Kernel.Rows) + Selection.Rows + Steps.Weight.Rows;

    /// <inheritdoc/>
    public override void Run(in Step step, in NormedInput x, Tensor y)
    {
        Backend backend = step.Backend;
        int width = Kernel.Rows, heads = Steps.Weight.Rows, headSize = width / heads, rank = Steps.Weight.Columns;
        Tensor all = step.Scratch.Take(x.Rows, Input.Rows), output = step.Scratch.Take(x.Rows, width), convolved = step.Scratch.Take(x.Rows, width);
        Tensor selection = step.Scratch.Take(x.Rows, Selection.Rows), steps = step.Scratch.Take(x.Rows, heads);
        x.MatMul(backend, Input, all);
        Tensor values = all.SliceColumns(0, width), gates = all.SliceColumns(width, width), gated = output;
        if (IsInTurn)
        {
            Tensor pairs = all.Reshape(x.Rows * heads, 2 * headSize);
            gated = output.Reshape(x.Rows * heads, headSize);
            gates = pairs.SliceColumns(0, headSize);
            backend.Copy(pairs.SliceColumns(headSize, headSize), gated);
            values = output;
        }

        backend.Convolve(values, Kernel, KernelBias, Activation.Silu, step.Sequence.States[ConvolutionIndex], convolved);
        backend.MatMul(convolved, Selection, selection);
        int first = IsInTurn ? 0 : rank;
        Tensor low = selection.SliceColumns(IsInTurn ? 2 * StateSize : 0, rank), b = selection.SliceColumns(first, StateSize), c = selection.SliceColumns(first + StateSize, StateSize);
        StepNorm?.Apply(backend, low, low);
        InputNorm?.Apply(backend, b, b);
        OutputNorm?.Apply(backend, c, c);
        Steps.Apply(backend, low, steps);
        backend.Activate(Activation.Softplus, steps, steps);
        backend.StateSpaceScan(convolved, steps, Rates, b, c, Skips, step.Sequence.States[StateIndex], output);
        backend.GatedActivation(Activation.Silu, gates, gated, gated);
        backend.MatMul(output, Output, y);
    }
}
