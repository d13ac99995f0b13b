using System.Collections.Immutable;
using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>What the layers with a delta rule share: short convolution of queries, keys and values, the rule, and a gated norm of its output.</summary>
/// <remarks>Yang, Kautz and Hatamizadeh, arXiv 2412.06464. States: the last rows that were convolved, and the heads' matrices.</remarks>
internal abstract class DeltaRuleLayer : Mixer
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
    public bool IsInterleaved { get; init; }

    /// <summary>[kernel] a channel of [queries, keys, values]; in one matrix or several that follow each other.</summary>
    public required ImmutableArray<Weight> Kernels { get; init; }

    /// <summary>[heads] or [heads of key size] added to the steps before softplus.</summary>
    public required Weight StepBias { get; init; }

    /// <summary>[heads] rates of decay, negative.</summary>
    public required Weight Rates { get; init; }

    /// <summary>Norm of queries and keys head by head, but for a factor: x / sqrt(sum of x^2 + epsilon) is this, divided by sqrt(head size).</summary>
    public required Norm KeyNorm { get; init; }

    /// <summary>Norm of the output, head by head.</summary>
    public required Norm OutputNorm { get; init; }

    /// <summary>What of the gates multiplies the output.</summary>
    public Activation GateActivation { get; init; } = Activation.Silu;

    /// <summary>The last matrix.</summary>
    public required Weight Output { get; init; }

    /// <inheritdoc/>
    public sealed override int WorkColumns => (2 * MixedWidth) + ValueWidth + Heads + StepBias.Columns + ProjectionColumns;

    /// <summary>Values a token that <see cref="Project"/> takes.</summary>
    protected abstract int ProjectionColumns { get; }

    /// <summary>Width of all queries, and of all keys.</summary>
    protected int KeyWidth => KeyHeads * HeadSize;

    /// <summary>Width of all values.</summary>
    protected int ValueWidth => Heads * HeadSize;

    private int MixedWidth => (2 * KeyWidth) + ValueWidth;

    /// <inheritdoc/>
    public sealed override void Run(in Step step, in NormedInput input, Tensor y)
    {
        Backend backend = step.Backend;
        Tensor x = input.Value(backend);
        Tensor mixed = step.Scratch.Take(x.Rows, MixedWidth), gates = step.Scratch.Take(x.Rows, ValueWidth);
        Tensor betas = step.Scratch.Take(x.Rows, Heads), steps = step.Scratch.Take(x.Rows, StepBias.Columns);
        Project(step, x, mixed, gates, betas, steps);
        backend.Activate(Activation.Sigmoid, betas, betas);
        backend.AddBias(steps, StepBias);
        backend.Activate(Activation.Softplus, steps, steps);

        Tensor convolved = step.Scratch.Take(x.Rows, MixedWidth), state = step.Sequence.States[ConvolutionIndex];
        int start = 0;
        foreach (Weight kernel in Kernels)
        {
            int channels = kernel.Rows;
            backend.Convolve(mixed.SliceColumns(start, channels), kernel, null, Activation.Silu, state.SliceColumns(start, channels), convolved.SliceColumns(start, channels));
            start += channels;
        }

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
        backend.MatMulGated(GateActivation, gates, output, output, Output, y);
    }

    /// <summary>The products of the input, before convolution and activations.</summary>
    /// <param name="step">Where it stands.</param>
    /// <param name="x">[tokens x width].</param>
    /// <param name="mixed">[tokens x queries, keys and values], overwritten.</param>
    /// <param name="gates">[tokens x values], overwritten.</param>
    /// <param name="betas">[tokens x heads], overwritten.</param>
    /// <param name="steps">[tokens x heads] or [tokens x heads of key size], overwritten.</param>
    protected abstract void Project(in Step step, Tensor x, Tensor mixed, Tensor gates, Tensor betas, Tensor steps);
}
