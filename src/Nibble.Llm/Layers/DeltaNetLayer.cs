using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>How queries, keys, values and their gates are laid out in the file's matrices.</summary>
internal enum DeltaNetLayout
{
    /// <summary>Matrices of [queries, keys, values], of output gates, of betas and of steps.</summary>
    Split,

    /// <summary>The same, but betas and steps in one: for each key head the betas of its heads, then their steps.</summary>
    FusedSteps,

    /// <summary>Two matrices: one with the query, key, values and output gates of each key head in turn, and that of betas and steps.</summary>
    Fused,
}

/// <summary>Gated delta net: short convolution of queries, keys and values, the gated delta rule, and a gated norm of its output.</summary>
/// <remarks>Yang, Kautz and Hatamizadeh, arXiv 2412.06464, as Qwen3-Next has it. States: the last rows that were convolved, and the heads' matrices.</remarks>
internal sealed class DeltaNetLayer : Mixer
{
    /// <summary>Which of the sequence's states: [kernel - 1 x queries, keys and values].</summary>
    public required int ConvolutionIndex { get; init; }

    /// <summary>Which of the sequence's states: [heads of value size x key size].</summary>
    public required int StateIndex { get; init; }

    /// <summary>Heads of values.</summary>
    public required int Heads { get; init; }

    /// <summary>Heads of queries and keys; a divisor of <see cref="Heads"/>.</summary>
    public required int KeyHeads { get; init; }

    /// <summary>Values of a head's key, and of its value.</summary>
    public required int HeadSize { get; init; }

    /// <summary>Whether head h has key head h modulo the key heads.</summary>
    public required bool IsInterleaved { get; init; }

    /// <summary>What <see cref="Projections"/> are.</summary>
    public required DeltaNetLayout Layout { get; init; }

    /// <summary>The first matrices, by <see cref="Layout"/>.</summary>
    public required Weight[] Projections { get; init; }

    /// <summary>[kernel] a channel.</summary>
    public required Weight Kernel { get; init; }

    /// <summary>[heads] added to the steps before softplus.</summary>
    public required Weight StepBias { get; init; }

    /// <summary>[heads] rates of decay, negative.</summary>
    public required Weight Rates { get; init; }

    /// <summary>Norm of queries and keys head by head, but for a factor: x / sqrt(sum of x^2 + epsilon) is this, divided by sqrt(head size).</summary>
    public required Norm KeyNorm { get; init; }

    /// <summary>Norm of the output, head by head.</summary>
    public required Norm OutputNorm { get; init; }

    /// <summary>The last matrix.</summary>
    public required Weight Output { get; init; }

    /// <inheritdoc/>
    public override int WorkColumns =>
        (2 * ConvolutionWidth) + ValueWidth + (2 * Heads) + (Layout == DeltaNetLayout.Split ? 0 : 2 * Heads) + (Layout == DeltaNetLayout.Fused ? Projections[0].Rows : 0);

    private int KeyWidth => KeyHeads * HeadSize;

    private int ValueWidth => Heads * HeadSize;

    private int ConvolutionWidth => (2 * KeyWidth) + ValueWidth;

    /// <inheritdoc/>
    public override void Run(in Step step, Tensor x, Tensor y)
    {
        Backend backend = step.Backend;
        Tensor mixed = step.Scratch.Take(x.Rows, ConvolutionWidth), gates = step.Scratch.Take(x.Rows, ValueWidth);
        Tensor betas = step.Scratch.Take(x.Rows, Heads), steps = step.Scratch.Take(x.Rows, Heads);
        Project(step, x, mixed, gates, betas, steps);
        backend.Activate(Activation.Sigmoid, betas, betas);
        backend.AddBias(steps, StepBias);
        backend.Activate(Activation.Softplus, steps, steps);

        Tensor convolved = step.Scratch.Take(x.Rows, ConvolutionWidth);
        backend.Convolve(mixed, Kernel, null, Activation.Silu, step.Sequence.States[ConvolutionIndex], convolved);
        Tensor queriesAndKeys = convolved.SliceColumns(0, 2 * KeyWidth);
        KeyNorm.Apply(backend, queriesAndKeys, queriesAndKeys);
        backend.Scale(queriesAndKeys, 1 / MathF.Sqrt(HeadSize), queriesAndKeys);

        Tensor output = mixed.SliceColumns(0, ValueWidth);
        backend.DeltaRule(
            convolved.SliceColumns(0, KeyWidth),
            convolved.SliceColumns(KeyWidth, KeyWidth),
            convolved.SliceColumns(2 * KeyWidth, ValueWidth),
            steps,
            Rates,
            betas,
            IsInterleaved,
            step.Sequence.States[StateIndex],
            output);
        OutputNorm.Apply(backend, output, output);
        backend.GatedActivation(Activation.Silu, gates, output, output);
        backend.MatMul(output, Output, y);
    }

    private void Project(in Step step, Tensor x, Tensor mixed, Tensor gates, Tensor betas, Tensor steps)
    {
        Backend backend = step.Backend;
        int shared = Heads / KeyHeads, rows = x.Rows * KeyHeads;
        if (Layout == DeltaNetLayout.Split)
        {
            backend.MatMul(x, Projections, [mixed, gates, betas, steps]);
            return;
        }

        Tensor both = step.Scratch.Take(x.Rows, 2 * Heads);
        if (Layout == DeltaNetLayout.FusedSteps) backend.MatMul(x, Projections, [mixed, gates, both]);
        else
        {
            Tensor all = step.Scratch.Take(x.Rows, Projections[0].Rows);
            backend.MatMul(x, Projections, [all, both]);
            int width = all.Columns / KeyHeads, values = shared * HeadSize;
            for (int h = 0; h < KeyHeads; h++)
            {
                Tensor head = all.SliceColumns(h * width, width);
                backend.Copy(head.SliceColumns(0, HeadSize), mixed.SliceColumns(h * HeadSize, HeadSize));
                backend.Copy(head.SliceColumns(HeadSize, HeadSize), mixed.SliceColumns(KeyWidth + (h * HeadSize), HeadSize));
                backend.Copy(head.SliceColumns(2 * HeadSize, values), mixed.SliceColumns((2 * KeyWidth) + (h * values), values));
                backend.Copy(head.SliceColumns((2 * HeadSize) + values, values), gates.SliceColumns(h * values, values));
            }
        }

        Tensor pairs = both.Reshape(rows, 2 * shared);
        backend.Copy(pairs.SliceColumns(0, shared), betas.Reshape(rows, shared));
        backend.Copy(pairs.SliceColumns(shared, shared), steps.Reshape(rows, shared));
    }
}
