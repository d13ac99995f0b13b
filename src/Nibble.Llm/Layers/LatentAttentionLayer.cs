using System.Collections.Immutable;
using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>Multi-head latent attention: keys and values of all heads come from one short vector a token, and a part of the keys that RoPE turns is shared by all heads.</summary>
/// <remarks>
/// <para>DeepSeek-V2, arXiv 2405.04434. With <see cref="KeyUp"/> and <see cref="ValueUp"/> the cache holds the short vector itself: queries are brought to its size, and what they attend to
/// back to the heads' (one KV head of rank + RoPE values). Old files have one matrix for both, <see cref="KeyValueUp"/>; the cache then holds the heads' own keys and values.</para>
/// <para>A head of the queries is [values without RoPE, values with].</para>
/// </remarks>
internal sealed class LatentAttentionLayer : Mixer
{
    private int[] _heads = [];

    /// <summary>Which layer of the KV cache.</summary>
    public required int KvIndex { get; init; }

    /// <summary>Values of a head's query and key that RoPE does not turn.</summary>
    public required int PlainSize { get; init; }

    /// <summary>Values that it turns.</summary>
    public required int RopeSize { get; init; }

    /// <summary>Values of a head's value.</summary>
    public required int ValueSize { get; init; }

    /// <summary>Values of the short vector.</summary>
    public required int Rank { get; init; }

    /// <summary>[short query x width], or null: then <see cref="Query"/> reads the state.</summary>
    public Weight? QueryDown { get; init; }

    /// <summary>Norm of the short query.</summary>
    public Norm? QueryNorm { get; init; }

    /// <summary>[heads of plain and RoPE size x short query or width].</summary>
    public required Weight Query { get; init; }

    /// <summary>[rank + RoPE size x width].</summary>
    public required Weight KeyValueDown { get; init; }

    /// <summary>Norm of the short vector.</summary>
    public required Norm KeyValueNorm { get; init; }

    /// <summary>A head each: [rank x plain size], or null.</summary>
    public Weight? KeyUp { get; init; }

    /// <summary>A head each: [value size x rank], or null.</summary>
    public Weight? ValueUp { get; init; }

    /// <summary>[heads of plain and value size x rank], or null.</summary>
    public Weight? KeyValueUp { get; init; }

    /// <summary>Rotation of the end of the queries' heads, or null.</summary>
    public RopeChoice? QueryRope { get; init; }

    /// <summary>Rotation of the shared part of the keys, or null.</summary>
    public RopeChoice? KeyRope { get; init; }

    /// <summary>Heads, scale and the rest.</summary>
    public required AttentionOptions Options { get; init; }

    /// <summary>The last matrix.</summary>
    public required Linear Output { get; init; }

    /// <inheritdoc/>
    public override ImmutableArray<int> KvIndices => [KvIndex];

    /// <inheritdoc/>
    public override int WorkColumns
    {
        get
        {
            int heads = Options.Heads, shared = (QueryDown?.Rows ?? 0) + (heads * (PlainSize + RopeSize)) + Rank + RopeSize + (heads * ValueSize);
            return KeyValueUp is null
                ? shared + (heads * (Rank + RopeSize + Rank))
                : shared + KeyValueUp.Rows + (heads * (PlainSize + RopeSize + ValueSize));
        }
    }

    /// <inheritdoc/>
    public override int IdColumns => KeyValueUp is null ? Options.Heads : 0;

    /// <inheritdoc/>
    public override void Run(in Step step, in NormedInput x, Tensor y)
    {
        Backend backend = step.Backend;
        int capacity = step.Sequence.Cache.Capacity;
        Tensor queries = step.Scratch.Take(x.Rows, Query.Rows), latent = step.Scratch.Take(x.Rows, Rank + RopeSize);
        if (QueryDown is not null)
        {
            Tensor low = step.Scratch.Take(x.Rows, QueryDown.Rows);
            x.MatMul(backend, [QueryDown, KeyValueDown], [low, latent]);
            new NormedInput(low, QueryNorm, low).MatMul(backend, Query, queries);
        }
        else
        {
            x.MatMul(backend, [Query, KeyValueDown], [queries, latent]);
        }

        if (QueryRope is not null) backend.Rope(queries, PlainSize + RopeSize, step.FirstPosition, QueryRope.For(capacity));
        if (KeyRope is not null) backend.Rope(latent.SliceColumns(Rank, RopeSize), RopeSize, step.FirstPosition, KeyRope.For(capacity));
        KeyValueNorm.Apply(backend, latent.SliceColumns(0, Rank), latent.SliceColumns(0, Rank));
        Tensor attended = KeyValueUp is null ? AttendAbsorbed(step, queries, latent) : AttendHeads(step, queries, latent);
        Output.Apply(backend, attended, y);
    }

    private Tensor AttendAbsorbed(in Step step, Tensor queries, Tensor latent)
    {
        Backend backend = step.Backend;
        int heads = Options.Heads, products = queries.Rows * heads;
        Tensor ids = step.Scratch.TakeIds(queries.Rows, heads);
        backend.Write(HeadIds(products), ids);
        Tensor parts = queries.Reshape(products, PlainSize + RopeSize);
        Tensor absorbed = step.Scratch.Take(products, Rank + RopeSize);
        backend.MatMulExperts(parts.SliceColumns(0, PlainSize), KeyUp!, ids, absorbed.SliceColumns(0, Rank));
        backend.Copy(parts.SliceColumns(PlainSize, RopeSize), absorbed.SliceColumns(Rank, RopeSize));
        backend.StoreKv(latent, latent.SliceColumns(0, Rank), step.Sequence.Cache, KvIndex, step.FirstPosition);
        Tensor attended = step.Scratch.Take(queries.Rows, heads * Rank);
        backend.Attention(absorbed.Reshape(queries.Rows, heads * (Rank + RopeSize)), step.Sequence.Cache, KvIndex, step.FirstPosition, Options, attended);
        Tensor values = step.Scratch.Take(products, ValueSize);
        backend.MatMulExperts(attended.Reshape(products, Rank), ValueUp!, ids, values);
        return values.Reshape(queries.Rows, heads * ValueSize);
    }

    private Tensor AttendHeads(in Step step, Tensor queries, Tensor latent)
    {
        Backend backend = step.Backend;
        int heads = Options.Heads, products = queries.Rows * heads, size = PlainSize + RopeSize;
        Tensor up = step.Scratch.Take(queries.Rows, KeyValueUp!.Rows);
        backend.MatMul(latent.SliceColumns(0, Rank), KeyValueUp, up);
        Tensor parts = up.Reshape(products, PlainSize + ValueSize);
        Tensor keys = step.Scratch.Take(queries.Rows, heads * size), values = step.Scratch.Take(queries.Rows, heads * ValueSize);
        if (PlainSize > 0) backend.Copy(parts.SliceColumns(0, PlainSize), keys.Reshape(products, size).SliceColumns(0, PlainSize));
        backend.Copy(parts.SliceColumns(PlainSize, ValueSize), values.Reshape(products, ValueSize));
        for (int h = 0; h < heads; h++)
            backend.Copy(latent.SliceColumns(Rank, RopeSize), keys.SliceColumns((h * size) + PlainSize, RopeSize));
        backend.StoreKv(keys, values, step.Sequence.Cache, KvIndex, step.FirstPosition);
        // The values are stored, so that their place can take what is attended to.
        backend.Attention(queries, step.Sequence.Cache, KvIndex, step.FirstPosition, Options, values);
        return values;
    }

    // 0 to heads - 1, over and over: each head has a matrix of its own.
    private ReadOnlySpan<int> HeadIds(int count)
    {
        if (_heads.Length < count)
        {
            _heads = new int[count];
            for (int i = 0; i < count; i++)
                _heads[i] = i % Options.Heads;
        }

        return _heads.AsSpan(0, count);
    }
}
