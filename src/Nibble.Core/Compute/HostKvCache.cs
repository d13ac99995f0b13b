using Nibble.Core.Formats;
using Nibble.Core.Memory;

namespace Nibble.Core.Compute;

/// <summary>A KV cache in the host's memory: a layer's keys [rows x row], then its values, then the next layer.</summary>
public sealed unsafe class HostKvCache : KvCache
{
    private readonly NativeBuffer _memory;
    private readonly long[] _starts;

    /// <summary>Allocates a zeroed cache.</summary>
    /// <param name="layers">Shape of each layer.</param>
    /// <param name="capacity">Positions.</param>
    /// <param name="format">One of <see cref="KvCache.Formats"/>.</param>
    /// <param name="batch">Tokens that are stored at a time at most.</param>
    public HostKvCache(ReadOnlySpan<KvLayer> layers, int capacity, BlockFormat format, int batch)
        : base(layers, capacity, format, batch)
    {
        _starts = new long[layers.Length * 2];
        long length = 0;
        for (int i = 0; i < _starts.Length; i++)
        {
            _starts[i] = length;
            long bytes = (long)Rows(i / 2) * RowBytes(i / 2, i % 2 == 1);
            length = checked(length + ((bytes + NativeBuffer.Alignment - 1) & -NativeBuffer.Alignment));
        }

        _memory = new NativeBuffer(length);
    }

    /// <summary>The address of row 0 of a layer's keys or values; rows are <see cref="KvCache.RowBytes"/> apart, and position p is in row p modulo <see cref="KvCache.Rows"/>.</summary>
    /// <param name="layer">Layer.</param>
    /// <param name="values">False for keys, true for values.</param>
    public byte* Pointer(int layer, bool values) => _memory.Pointer + _starts[(layer * 2) + (values ? 1 : 0)];

    /// <summary>The bytes of one position's keys or values.</summary>
    /// <param name="layer">Layer.</param>
    /// <param name="values">False for keys, true for values.</param>
    /// <param name="position">Position.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such layer or position.</exception>
    public Span<byte> Row(int layer, bool values, int position)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(position);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(position, Capacity);
        int bytes = RowBytes(layer, values);
        return new Span<byte>(Pointer(layer, values) + (position % Rows(layer) * (long)bytes), bytes);
    }

    /// <summary>The cache as this class.</summary>
    /// <param name="cache">A cache.</param>
    /// <exception cref="ArgumentException">The cache belongs to another kind of backend.</exception>
    public static HostKvCache Of(KvCache cache) =>
        cache as HostKvCache ?? throw new ArgumentException($"a KV cache of {cache?.GetType().Name} cannot be used by a backend that computes in host memory.", nameof(cache));

    /// <inheritdoc/>
    public override void CopyFrom(KvCache source, int positions)
    {
        HostKvCache from = Of(source);
        if (from.Format != Format || !from.Layers.AsSpan().SequenceEqual(Layers.AsSpan()))
            throw new ArgumentException("the caches have different layers or formats.", nameof(source));
        for (int layer = 0; layer < Layers.Length; layer++)
            if (Layers[layer].Window > 0 && from.Rows(layer) != Rows(layer))
                throw new ArgumentException($"layer {layer} keeps {from.Rows(layer)} positions in one cache and {Rows(layer)} in the other.", nameof(source));
        ArgumentOutOfRangeException.ThrowIfNegative(positions);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(positions, Math.Min(Capacity, from.Capacity));
        for (int layer = 0; layer < Layers.Length; layer++)
        {
            Copy(from, layer, false, positions);
            Copy(from, layer, true, positions);
        }
    }

    /// <inheritdoc/>
    public override void ReadRow(int layer, bool values, int position, Span<byte> row) => Row(layer, values, position).CopyTo(row);

    /// <inheritdoc/>
    public override void WriteRow(int layer, bool values, int position, ReadOnlySpan<byte> row)
    {
        Span<byte> destination = Row(layer, values, position);
        ArgumentOutOfRangeException.ThrowIfNotEqual(row.Length, destination.Length);
        row.CopyTo(destination);
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing) => _memory.Dispose();

    private void Copy(HostKvCache from, int layer, bool values, int positions)
    {
        long bytes = (Layers[layer].Window > 0 ? Rows(layer) : (long)positions) * RowBytes(layer, values);
        Buffer.MemoryCopy(from.Pointer(layer, values), Pointer(layer, values), bytes, bytes);
    }
}
