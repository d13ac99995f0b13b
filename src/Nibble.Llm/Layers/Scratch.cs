using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>The widths that a model's layers need.</summary>
/// <param name="Width">Values of a token's state.</param>
/// <param name="QueryKeyValue">Queries, keys and values of the widest layer together.</param>
/// <param name="Attended">Output of the widest layer's heads.</param>
/// <param name="FeedForward">Hidden width of the widest dense network.</param>
/// <param name="ExpertFeedForward">Hidden width of an expert; 0 without experts.</param>
/// <param name="Experts">Experts; 0 without.</param>
/// <param name="ExpertsUsed">Experts a token; 0 without.</param>
/// <param name="Vocabulary">Logits of a token.</param>
internal readonly record struct ScratchShape(
    int Width, int QueryKeyValue, int Attended, int FeedForward, int ExpertFeedForward, int Experts, int ExpertsUsed, int Vocabulary)
{
    /// <summary>Bytes that a <see cref="Scratch"/> of this shape takes.</summary>
    /// <param name="tokens">Tokens of a batch.</param>
    /// <param name="logitRows">Rows of logits at a time.</param>
    public long Bytes(int tokens, int logitRows) =>
        4L * ((long)tokens * ((3L * Width) + QueryKeyValue + Attended + (2L * FeedForward) + Experts
            + (ExpertsUsed * (2L + (2L * ExpertFeedForward) + Width))) + ((long)logitRows * (Vocabulary + Width)));
}

/// <summary>The activations of one batch, allocated once and used by every layer in turn.</summary>
internal sealed class Scratch : IDisposable
{
    private readonly Tensor[] _all;

    /// <summary>Allocates for batches of up to <paramref name="tokens"/>.</summary>
    /// <param name="backend">Whose memory.</param>
    /// <param name="shape">Widths.</param>
    /// <param name="tokens">Tokens of a batch.</param>
    /// <param name="logitRows">Rows of logits at a time.</param>
    public Scratch(Backend backend, ScratchShape shape, int tokens, int logitRows)
    {
        Tokens = tokens;
        LogitRows = logitRows;
        int products = tokens * shape.ExpertsUsed;
        Tensor Float(int rows, int columns) => backend.Allocate(ElementType.Float32, rows, columns);
        State = Float(tokens, shape.Width);
        Normed = Float(tokens, shape.Width);
        Delta = Float(tokens, shape.Width);
        QueryKeyValue = Float(tokens, shape.QueryKeyValue);
        Attended = Float(tokens, shape.Attended);
        Gate = Float(tokens, shape.FeedForward);
        Up = Float(tokens, shape.FeedForward);
        Router = Float(tokens, shape.Experts);
        ExpertIds = backend.Allocate(ElementType.Int32, tokens, shape.ExpertsUsed);
        ExpertWeights = Float(tokens, shape.ExpertsUsed);
        ExpertGate = Float(products, shape.ExpertFeedForward);
        ExpertUp = Float(products, shape.ExpertFeedForward);
        ExpertOutput = Float(products, shape.ExpertsUsed == 0 ? 0 : shape.Width);
        LogitState = Float(logitRows, shape.Width);
        Logits = Float(logitRows, shape.Vocabulary);
        _all = [State, Normed, Delta, QueryKeyValue, Attended, Gate, Up, Router, ExpertIds, ExpertWeights, ExpertGate, ExpertUp, ExpertOutput, LogitState, Logits];
    }

    /// <summary>Tokens of a batch at most.</summary>
    public int Tokens { get; }

    /// <summary>Rows of logits at a time at most.</summary>
    public int LogitRows { get; }

    /// <summary>[tokens x width] the residual stream.</summary>
    public Tensor State { get; }

    /// <summary>[tokens x width] what a block reads.</summary>
    public Tensor Normed { get; }

    /// <summary>[tokens x width] what a block adds.</summary>
    public Tensor Delta { get; }

    /// <summary>[tokens x queries, keys, values].</summary>
    public Tensor QueryKeyValue { get; }

    /// <summary>[tokens x heads of value size].</summary>
    public Tensor Attended { get; }

    /// <summary>[tokens x hidden].</summary>
    public Tensor Gate { get; }

    /// <summary>[tokens x hidden].</summary>
    public Tensor Up { get; }

    /// <summary>[tokens x experts].</summary>
    public Tensor Router { get; }

    /// <summary>int32 [tokens x used].</summary>
    public Tensor ExpertIds { get; }

    /// <summary>[tokens x used].</summary>
    public Tensor ExpertWeights { get; }

    /// <summary>[tokens used x expert hidden].</summary>
    public Tensor ExpertGate { get; }

    /// <summary>[tokens used x expert hidden].</summary>
    public Tensor ExpertUp { get; }

    /// <summary>[tokens used x width].</summary>
    public Tensor ExpertOutput { get; }

    /// <summary>[logit rows x width] normed states of the tokens whose logits are wanted.</summary>
    public Tensor LogitState { get; }

    /// <summary>[logit rows x vocabulary].</summary>
    public Tensor Logits { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Tensor tensor in _all)
            tensor.Buffer.Dispose();
    }
}
