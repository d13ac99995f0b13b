using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>Embeddings that each layer has of its own beside those that the first one gets (Gemma 4 E models).</summary>
/// <remarks>
/// For layer i: (norm(projection of the embedding / sqrt(width))[i] + table row[i] x sqrt(size)) / sqrt(2). Source: llama.cpp v0.5.0, src/models/gemma4.cpp.
/// </remarks>
internal sealed class LayerInputs
{
    /// <summary>[vocabulary x layers of size].</summary>
    public required Weight Table { get; init; }

    /// <summary>[layers of size x width].</summary>
    public required Weight Projection { get; init; }

    /// <summary>Norm of each layer's part of the projection.</summary>
    public required Norm Norm { get; init; }

    /// <summary>Fills the inputs of all layers.</summary>
    /// <param name="backend">What computes.</param>
    /// <param name="ids">[tokens] ids.</param>
    /// <param name="embeddings">[tokens x width], scaled.</param>
    /// <param name="work">[tokens x layers of size], overwritten.</param>
    /// <param name="y">[tokens x layers of size], overwritten.</param>
    public void Run(Backend backend, ReadOnlySpan<int> ids, Tensor embeddings, Tensor work, Tensor y)
    {
        backend.MatMul(embeddings, Projection, y);
        backend.Scale(y, 1 / MathF.Sqrt(embeddings.Columns), y);
        Norm.Apply(backend, y, y);
        backend.GetRows(Table, ids, work);
        backend.Scale(work, MathF.Sqrt(Norm.Options.Size), work);
        backend.Add(y, work, y);
        backend.Scale(y, 1 / MathF.Sqrt(2), y);
    }
}

/// <summary>How a layer takes in its own input: state + norm(projection(gelu(gate state) x input)).</summary>
internal sealed class LayerInput
{
    /// <summary>Which part of <see cref="LayerInputs"/>.</summary>
    public required int Index { get; init; }

    /// <summary>[size x width].</summary>
    public required Weight Gate { get; init; }

    /// <summary>[width x size].</summary>
    public required Weight Projection { get; init; }

    /// <summary>Norm of what is added.</summary>
    public required Norm PostNorm { get; init; }

    /// <summary>Values a token that <see cref="Run"/> takes of <see cref="Scratch"/>.</summary>
    public int WorkColumns => Gate.Rows;

    /// <summary>Adds to the state.</summary>
    /// <param name="step">Where it stands.</param>
    /// <param name="state">[tokens x width], changed.</param>
    /// <param name="delta">[tokens x width], overwritten.</param>
    public void Run(in Step step, Tensor state, Tensor delta)
    {
        Tensor gate = step.Scratch.Take(state.Rows, Gate.Rows);
        step.Backend.MatMul(state, Gate, gate);
        Tensor own = step.Scratch.LayerInputs.SliceRows(0, state.Rows).SliceColumns(Index * Gate.Rows, Gate.Rows);
        step.Backend.MatMulGated(Activation.Gelu, gate, own, gate, Projection, delta);
        PostNorm.Apply(step.Backend, delta, delta);
        step.Backend.Add(state, delta, state);
    }
}
