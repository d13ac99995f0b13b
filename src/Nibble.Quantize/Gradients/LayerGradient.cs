using Nibble.Core.Gguf;
using Nibble.Llm.Models;

namespace Nibble.Quantize.Gradients;

/// <summary>A <see cref="PlainLayer"/> in float32: its forward pass over a chunk, which keeps what the backward pass needs in a <see cref="LayerWorkspace"/>, and that. Each is on one thread; several may run at a time.</summary>
internal sealed class LayerGradient : IDisposable
{
    private readonly NormGradient _attentionNorm, _feedForwardNorm;
    private readonly NormGradient? _queryNorm, _keyNorm, _attentionPostNorm, _feedForwardPostNorm;
    private readonly Rotation? _rotation;

    /// <summary>Reads a layer.</summary>
    /// <param name="layer">Its parts.</param>
    /// <param name="file">The file.</param>
    /// <param name="positions">Positions of a chunk at most.</param>
    public LayerGradient(PlainLayer layer, GgufFile file, int positions)
    {
        Layer = layer;
        Query = new LinearGradient(layer.Query, file);
        Key = new LinearGradient(layer.Key, file);
        Value = new LinearGradient(layer.Value, file);
        Output = new LinearGradient(layer.Output, file);
        Gate = new LinearGradient(layer.Gate, file);
        Up = new LinearGradient(layer.Up, file);
        Down = new LinearGradient(layer.Down, file);
        NormGradient? Norm(PlainNorm? norm, int columns) => norm is null ? null : new NormGradient(norm, columns, file);
        int width = layer.Output.Rows;
        _attentionNorm = Norm(layer.AttentionNorm, width)!;
        _feedForwardNorm = Norm(layer.FeedForwardNorm, width)!;
        _attentionPostNorm = Norm(layer.AttentionPostNorm, width);
        _feedForwardPostNorm = Norm(layer.FeedForwardPostNorm, width);
        _queryNorm = Norm(layer.QueryNorm, Query.Rows);
        _keyNorm = Norm(layer.KeyNorm, Key.Rows);
        _rotation = layer.Rope is null ? null : new Rotation(layer.Rope, positions);
    }

    /// <summary>The parts.</summary>
    public PlainLayer Layer { get; }

    /// <summary>Queries.</summary>
    public LinearGradient Query { get; }

    /// <summary>Keys.</summary>
    public LinearGradient Key { get; }

    /// <summary>Values.</summary>
    public LinearGradient Value { get; }

    /// <summary>The matrix behind attention.</summary>
    public LinearGradient Output { get; }

    /// <summary>The gate.</summary>
    public LinearGradient Gate { get; }

    /// <summary>What the gate is multiplied with.</summary>
    public LinearGradient Up { get; }

    /// <summary>The last matrix.</summary>
    public LinearGradient Down { get; }

    /// <summary>Runs the layer over a chunk, from position 0 on.</summary>
    /// <param name="space">Memory; <see cref="LayerWorkspace.State"/> becomes what the layer gives, and the rest what <see cref="Backward"/> reads.</param>
    /// <param name="state">[tokens x width] what the layer reads.</param>
    public void Forward(LayerWorkspace space, ReadOnlySpan<float> state)
    {
        space.Tokens = state.Length / Output.Rows;
        state.CopyTo(space.Input.Span);
        _attentionNorm.Forward(space.Input, space.AttentionInput);
        Project(space, Query, _queryNorm, space.RawQueries, space.Queries);
        Project(space, Key, _keyNorm, space.RawKeys, space.Keys);
        Value.Forward(space.AttentionInput, space.Values);
        space.Attention.Forward(space.Queries, space.Keys, space.Values, space.Attended);
        Output.Forward(space.Attended, space.AttentionOutput);
        Add(_attentionPostNorm, space.Input, space.AttentionOutput, space, space.Middle);
        _feedForwardNorm.Forward(space.Middle, space.FeedForwardInput);
        Gate.Forward(space.FeedForwardInput, space.Gates);
        Up.Forward(space.FeedForwardInput, space.Ups);
        GatedActivation.Forward(Layer.Activation, space.Gates.Span, space.Ups.Span, space.Inner.Span);
        Down.Forward(space.Inner, space.FeedForwardOutput);
        Add(_feedForwardPostNorm, space.Middle, space.FeedForwardOutput, space, space.State);
    }

    /// <summary>
    /// The gradients of the chunk that <see cref="Forward"/> ran last: at the output of each linear layer in the workspace, and at the layer's input in <paramref name="gradient"/>.
    /// </summary>
    /// <param name="space">The memory of the forward pass.</param>
    /// <param name="gradient">[tokens x width] the gradient at what the layer gave, replaced by that at what it read.</param>
    public void Backward(LayerWorkspace space, Span<float> gradient)
    {
        Matrix state = space.State;
        gradient.CopyTo(state.Span);
        Below(_feedForwardPostNorm, space.FeedForwardOutput, state, space.FeedForwardOutputGradient);
        Down.Backward(space.FeedForwardOutputGradient, space.UpGradient, add: false);
        GatedActivation.Backward(Layer.Activation, space.Gates.Span, space.Ups.Span, space.UpGradient.Span, space.GateGradient.Span, space.UpGradient.Span);
        Gate.Backward(space.GateGradient, space.NormedGradient, add: false);
        Up.Backward(space.UpGradient, space.NormedGradient, add: true);
        _feedForwardNorm.Backward(space.Middle, space.NormedGradient, state, add: true);
        Below(_attentionPostNorm, space.AttentionOutput, state, space.AttentionOutputGradient);
        Output.Backward(space.AttentionOutputGradient, space.AttendedGradient, add: false);
        space.Attention.Backward(space.Queries, space.Keys, space.Values, space.AttendedGradient, space.QueryGradient, space.KeyGradient, space.ValueGradient);
        Unturn(_queryNorm, space.RawQueries, space.QueryGradient);
        Unturn(_keyNorm, space.RawKeys, space.KeyGradient);
        Query.Backward(space.QueryGradient, space.NormedGradient, add: false);
        Key.Backward(space.KeyGradient, space.NormedGradient, add: true);
        Value.Backward(space.ValueGradient, space.NormedGradient, add: true);
        _attentionNorm.Backward(space.Input, space.NormedGradient, state, add: true);
        state.Span.CopyTo(gradient);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (LinearGradient linear in (ReadOnlySpan<LinearGradient>)[Query, Key, Value, Output, Gate, Up, Down])
            linear.Dispose();
    }

    private void Project(LayerWorkspace space, LinearGradient linear, NormGradient? norm, Matrix raw, Matrix heads)
    {
        linear.Forward(space.AttentionInput, norm is null ? heads : raw);
        norm?.Forward(raw, heads);
        _rotation?.Apply(heads, Layer.Kv.KeySize, isBackward: false);
    }

    private void Unturn(NormGradient? norm, Matrix raw, Matrix gradient)
    {
        _rotation?.Apply(gradient, Layer.Kv.KeySize, isBackward: true);
        norm?.Backward(raw, gradient, gradient, add: false);
    }

    // sum = state + r x norm of delta.
    private void Add(NormGradient? norm, Matrix state, Matrix delta, LayerWorkspace space, Matrix sum)
    {
        norm?.Forward(delta, space.NormedGradient);
        RowMath.Scale((norm is null ? delta : space.NormedGradient).Span, Layer.ResidualScale, sum.Span);
        RowMath.Add(state.Span, sum.Span);
    }

    private void Below(NormGradient? norm, Matrix delta, Matrix above, Matrix below)
    {
        if (norm is null)
        {
            RowMath.Scale(above.Span, Layer.ResidualScale, below.Span);
            return;
        }

        norm.Backward(delta, above, below, add: false);
        if (Layer.ResidualScale != 1) RowMath.Scale(below.Span, Layer.ResidualScale, below.Span);
    }
}
