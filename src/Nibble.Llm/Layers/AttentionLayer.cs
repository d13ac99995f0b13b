using System.Collections.Immutable;
using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>Self-attention of one layer: project, turn, store, attend, project back.</summary>
internal sealed class AttentionLayer
{
    /// <summary>Index in the KV cache.</summary>
    public required int Layer { get; init; }

    /// <summary>Query heads.</summary>
    public required int Heads { get; init; }

    /// <summary>Shape of this layer in the KV cache.</summary>
    public required KvLayer Kv { get; init; }

    /// <summary>The matrix of queries, keys and values in this order of rows, or the three matrices: one or three.</summary>
    public required ImmutableArray<Weight> Projections { get; init; }

    /// <summary>Biases of queries, keys and values together, or null.</summary>
    public Weight? Bias { get; init; }

    /// <summary>Bias of queries, or null.</summary>
    public Weight? QueryBias { get; init; }

    /// <summary>Bias of keys, or null.</summary>
    public Weight? KeyBias { get; init; }

    /// <summary>Bias of values, or null.</summary>
    public Weight? ValueBias { get; init; }

    /// <summary>From the heads back to the state.</summary>
    public required Linear Output { get; init; }

    /// <summary>The rotation of queries and keys.</summary>
    public required RopeChoice Rope { get; init; }

    /// <summary>What scores are multiplied by.</summary>
    public required float Scale { get; init; }

    /// <summary>Queries, keys and values together.</summary>
    public int QueryKeyValueWidth => (Heads * Kv.KeySize) + (Kv.Heads * (Kv.KeySize + Kv.ValueSize));

    /// <summary>Output of the heads.</summary>
    public int AttendedWidth => Heads * Kv.ValueSize;

    /// <summary>y = attention of x.</summary>
    /// <param name="backend">What computes.</param>
    /// <param name="scratch">Memory.</param>
    /// <param name="cache">Keys and values of the positions before; those of x are added.</param>
    /// <param name="firstPosition">Position of the first token.</param>
    /// <param name="x">[tokens x width], normed.</param>
    /// <param name="y">[tokens x width], overwritten.</param>
    public void Run(Backend backend, Scratch scratch, KvCache cache, int firstPosition, Tensor x, Tensor y)
    {
        int queryWidth = Heads * Kv.KeySize, keyWidth = Kv.Heads * Kv.KeySize, valueWidth = Kv.Heads * Kv.ValueSize;
        Tensor all = scratch.QueryKeyValue.SliceRows(0, x.Rows).SliceColumns(0, QueryKeyValueWidth);
        Tensor queries = all.SliceColumns(0, queryWidth);
        Tensor keys = all.SliceColumns(queryWidth, keyWidth);
        Tensor values = all.SliceColumns(queryWidth + keyWidth, valueWidth);
        if (Projections.Length == 1) backend.MatMul(x, Projections[0], all);
        else backend.MatMul(x, Projections.AsSpan(), [queries, keys, values]);
        if (Bias is not null) backend.AddBias(all, Bias);
        if (QueryBias is not null) backend.AddBias(queries, QueryBias);
        if (KeyBias is not null) backend.AddBias(keys, KeyBias);
        if (ValueBias is not null) backend.AddBias(values, ValueBias);
        RopeTable rope = Rope.For(cache.Capacity);
        backend.Rope(queries, Kv.KeySize, firstPosition, rope);
        backend.Rope(keys, Kv.KeySize, firstPosition, rope);
        backend.StoreKv(keys, values, cache, Layer, firstPosition);
        Tensor attended = scratch.Attended.SliceRows(0, x.Rows).SliceColumns(0, AttendedWidth);
        backend.Attention(queries, cache, Layer, firstPosition, new AttentionOptions(Heads, Scale), attended);
        Output.Apply(backend, attended, y);
    }
}
