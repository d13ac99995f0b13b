using System.Collections.Immutable;
using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>How the rows of an attention output are gated.</summary>
internal enum OutputGate
{
    /// <summary>Not at all.</summary>
    None,

    /// <summary>By a matrix of its own: a factor a value.</summary>
    Values,

    /// <summary>By a matrix of its own: a factor a head.</summary>
    Heads,

    /// <summary>By the second half of each head of <c>attn_q</c>, whose heads are twice as wide.</summary>
    InQuery,
}

/// <summary>Self-attention over a KV cache: projections, norms, RoPE, attention, output.</summary>
internal sealed class AttentionLayer : Mixer
{
    /// <summary>Which layer of the KV cache.</summary>
    public required int KvIndex { get; init; }

    /// <summary>Shape of that layer.</summary>
    public required KvLayer Kv { get; init; }

    /// <summary>Whether keys and values are those that an earlier layer stored.</summary>
    public bool ReusesKv { get; init; }

    /// <summary>One fused matrix of queries, keys and values, or three; two where values are the keys before norm and RoPE, one of queries where <see cref="ReusesKv"/>.</summary>
    public required ImmutableArray<Weight> Projections { get; init; }

    /// <summary>[queries, keys, values], the bias of a fused matrix, or null.</summary>
    public Weight? Bias { get; init; }

    /// <summary>[queries], or null.</summary>
    public Weight? QueryBias { get; init; }

    /// <summary>[keys], or null.</summary>
    public Weight? KeyBias { get; init; }

    /// <summary>[values], or null.</summary>
    public Weight? ValueBias { get; init; }

    /// <summary>Bound of queries, keys and values; 0 for none.</summary>
    public float ClampLimit { get; init; }

    /// <summary>Norm of the queries, or null.</summary>
    public Norm? QueryNorm { get; init; }

    /// <summary>Norm of the keys, or null.</summary>
    public Norm? KeyNorm { get; init; }

    /// <summary>Norm of the values, or null.</summary>
    public Norm? ValueNorm { get; init; }

    /// <summary>Whether queries and keys are normed after RoPE, not before.</summary>
    public bool IsNormedAfterRope { get; init; }

    /// <summary>The rotation, or null.</summary>
    public RopeChoice? Rope { get; init; }

    /// <summary>Heads, scale and the rest.</summary>
    public required AttentionOptions Options { get; init; }

    /// <summary>How the output is gated.</summary>
    public OutputGate Gate { get; init; }

    /// <summary>What the gate's values become.</summary>
    public Activation GateActivation { get; init; } = Activation.Sigmoid;

    /// <summary>[heads of value size] or [heads], by <see cref="Gate"/>; null where it has no matrix.</summary>
    public Weight? GateProjection { get; init; }

    /// <summary>Norm of the output before the last matrix, or null.</summary>
    public Norm? OutputNorm { get; init; }

    /// <summary>The last matrix.</summary>
    public required Linear Output { get; init; }

    /// <summary>What the output is multiplied by.</summary>
    public float OutputScale { get; init; } = 1;

    /// <inheritdoc/>
    public override ImmutableArray<int> KvIndices => [KvIndex];

    /// <inheritdoc/>
    public override int WorkColumns =>
        (Gate == OutputGate.InQuery ? 3 * QueryWidth : QueryWidth) + KeyWidth + ValueWidth + AttendedWidth + (GateProjection?.Rows ?? 0);

    private int QueryWidth => Options.Heads * Kv.KeySize;

    private int KeyWidth => Kv.Heads * Kv.KeySize;

    private int ValueWidth => Kv.Heads * Kv.ValueSize;

    private int AttendedWidth => Options.Heads * Kv.ValueSize;

    /// <inheritdoc/>
    public override void Run(in Step step, in NormedInput input, Tensor y)
    {
        Backend backend = step.Backend;
        Scratch scratch = step.Scratch;
        NormedInput x = GateProjection is null ? input : new NormedInput(input.Value(backend));
        // Queries with gates have a place of their own, for each head's part of it is split off.
        bool isGateInQuery = Gate == OutputGate.InQuery;
        int together = isGateInQuery ? 0 : QueryWidth;
        Tensor all = scratch.Take(x.Rows, together + KeyWidth + ValueWidth);
        Tensor queries = isGateInQuery ? scratch.Take(x.Rows, 2 * QueryWidth) : all.SliceColumns(0, QueryWidth);
        Tensor keys = all.SliceColumns(together, KeyWidth);
        Tensor values = all.SliceColumns(together + KeyWidth, ValueWidth);
        Tensor gate = default;
        if (ReusesKv) x.MatMul(backend, Projections[0], queries);
        else if (Projections.Length == 1) x.MatMul(backend, Projections[0], all);
        else x.MatMul(backend, Projections.AsSpan(), ((ReadOnlySpan<Tensor>)[queries, keys, values])[..Projections.Length]);
        if (Projections.Length == 2) backend.Copy(keys, values);
        if (Bias is not null) backend.AddBias(all, Bias);
        if (QueryBias is not null) backend.AddBias(queries, QueryBias);
        if (KeyBias is not null) backend.AddBias(keys, KeyBias);
        if (ValueBias is not null) backend.AddBias(values, ValueBias);
        if (ClampLimit > 0) backend.Clamp(all, ClampLimit, all);
        if (isGateInQuery)
        {
            // Each head is [query, gate].
            Tensor pairs = queries.Reshape(x.Rows * Options.Heads, 2 * Kv.KeySize);
            queries = scratch.Take(x.Rows, QueryWidth);
            backend.Copy(pairs.SliceColumns(0, Kv.KeySize), queries.Reshape(x.Rows * Options.Heads, Kv.KeySize));
            gate = pairs.SliceColumns(Kv.KeySize, Kv.KeySize);
        }

        Turn(step, queries, QueryNorm);
        if (!ReusesKv)
        {
            Turn(step, keys, KeyNorm);
            ValueNorm?.Apply(backend, values, values);
            backend.StoreKv(keys, values, step.Sequence.Cache, KvIndex, step.FirstPosition);
        }

        Tensor attended = scratch.Take(x.Rows, AttendedWidth);
        backend.Attention(queries, step.Sequence.Cache, KvIndex, step.FirstPosition, Options, attended);
        if (GateProjection is not null)
        {
            gate = scratch.Take(x.Rows, GateProjection.Rows);
            x.MatMul(backend, GateProjection, gate);
        }

        if (Gate is OutputGate.InQuery)
        {
            Tensor heads = attended.Reshape(x.Rows * Options.Heads, Kv.ValueSize);
            backend.GatedActivation(GateActivation, gate, heads, heads);
        }
        else if (Gate is OutputGate.Heads)
        {
            backend.Activate(GateActivation, gate, gate);
            Tensor heads = attended.Reshape(x.Rows * Options.Heads, Kv.ValueSize);
            backend.Combine(heads, gate.Reshape(x.Rows * Options.Heads, 1), heads);
        }

        if (Gate is OutputGate.Values) GatedProduct.Run(backend, GateActivation, gate, attended, attended, OutputNorm, Output.Weight, y);
        else new NormedInput(attended, OutputNorm, attended).MatMul(backend, Output.Weight, y);
        Output.AddBias(backend, y);
        if (OutputScale != 1) backend.Scale(y, OutputScale, y);
    }

    // Norm and RoPE, in the layer's order.
    private void Turn(in Step step, Tensor heads, Norm? norm)
    {
        if (!IsNormedAfterRope) norm?.Apply(step.Backend, heads, heads);
        if (Rope is not null) step.Backend.Rope(heads, Kv.KeySize, step.FirstPosition, Rope.For(step.Sequence.Cache.Capacity));
        if (IsNormedAfterRope) norm?.Apply(step.Backend, heads, heads);
    }
}
