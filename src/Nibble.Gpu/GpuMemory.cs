using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Gpu.Drivers;

namespace Nibble.Gpu;

/// <summary>Activations in a device's memory.</summary>
internal sealed class GpuTensorBuffer(GpuDevice device, ElementType type, long length) : TensorBuffer(type, length)
{
    /// <summary>The memory.</summary>
    public GpuBuffer Memory { get; } = device.Allocate(checked(length * 4), "activations");

    /// <summary>The memory of a tensor.</summary>
    /// <exception cref="ArgumentException">It belongs to another kind of backend.</exception>
    public static GpuBuffer Of(Tensor tensor) => tensor.Buffer is GpuTensorBuffer own
        ? own.Memory
        : throw new ArgumentException($"a tensor of {tensor.Buffer?.GetType().Name ?? "no memory"} cannot be used by a backend that computes on a GPU.", nameof(tensor));

    protected override void Dispose(bool disposing)
    {
        // A finalizer must not call the driver: memory that nobody freed goes with the device.
        if (disposing) Memory.Dispose();
    }
}

/// <summary>Keys and values in a device's memory: a buffer for each layer's keys, and one for its values.</summary>
internal sealed class GpuKvCache : KvCache
{
    private readonly GpuDevice _device;
    private readonly GpuBuffer[] _buffers;

    public GpuKvCache(GpuDevice device, ReadOnlySpan<KvLayer> layers, int capacity, BlockFormat format, int batch)
        : base(layers, capacity, format, batch)
    {
        _device = device;
        _buffers = new GpuBuffer[layers.Length * 2];
        try
        {
            for (int i = 0; i < _buffers.Length; i++)
            {
                _buffers[i] = device.Allocate((long)Rows(i / 2) * RowBytes(i / 2, i % 2 == 1), $"{(i % 2 == 1 ? "values" : "keys")} of layer {i / 2}");
                device.Clear(_buffers[i]);
            }
        }
        catch
        {
            Free();
            throw;
        }
    }

    /// <summary>A layer's keys or values: <see cref="KvCache.Rows"/> rows of <see cref="KvCache.RowBytes"/>.</summary>
    public GpuBuffer Memory(int layer, bool values) => _buffers[(layer * 2) + (values ? 1 : 0)];

    /// <summary>The cache as this class.</summary>
    /// <exception cref="ArgumentException">It belongs to another backend.</exception>
    public static GpuKvCache Of(KvCache cache, GpuDevice device) =>
        cache is GpuKvCache own && own._device == device ? own : throw new ArgumentException($"a KV cache of {cache?.GetType().Name} cannot be used by another backend.", nameof(cache));

    /// <inheritdoc/>
    public override void CopyFrom(KvCache source, int positions)
    {
        GpuKvCache from = Of(source, _device);
        if (from.Format != Format || !from.Layers.AsSpan().SequenceEqual(Layers.AsSpan()))
            throw new ArgumentException("the caches have different layers or formats.", nameof(source));
        for (int layer = 0; layer < Layers.Length; layer++)
            if (Layers[layer].Window > 0 && from.Rows(layer) != Rows(layer))
                throw new ArgumentException($"layer {layer} keeps {from.Rows(layer)} positions in one cache and {Rows(layer)} in the other.", nameof(source));
        ArgumentOutOfRangeException.ThrowIfNegative(positions);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(positions, Math.Min(Capacity, from.Capacity));
        for (int i = 0; i < _buffers.Length; i++)
            _device.Copy(from._buffers[i], 0, _buffers[i], 0, (Layers[i / 2].Window > 0 ? Rows(i / 2) : (long)positions) * RowBytes(i / 2, i % 2 == 1));
    }

    /// <inheritdoc/>
    public override void ReadRow(int layer, bool values, int position, Span<byte> row)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(row.Length, RowBytes(layer, values));
        _device.Read(Memory(layer, values), Start(layer, values, position), row);
    }

    /// <inheritdoc/>
    public override void WriteRow(int layer, bool values, int position, ReadOnlySpan<byte> row)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(row.Length, RowBytes(layer, values));
        _device.Write(Memory(layer, values), Start(layer, values, position), row);
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing) Free();
    }

    private long Start(int layer, bool values, int position)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(position);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(position, Capacity);
        return (long)(position % Rows(layer)) * RowBytes(layer, values);
    }

    private void Free()
    {
        foreach (GpuBuffer? buffer in _buffers)
            buffer?.Dispose();
    }
}

/// <summary>Memory for one call, that grows and is kept.</summary>
internal sealed class GpuScratch(GpuDevice device, string what) : IDisposable
{
    private GpuBuffer? _memory;

    /// <summary>Memory of at least so many bytes; what was in it is lost where it grows.</summary>
    public GpuBuffer Reserve(long bytes)
    {
        if (_memory is { } known && known.Length >= bytes) return known;
        _memory?.Dispose();
        _memory = null;
        return _memory = device.Allocate(bytes, what);
    }

    /// <inheritdoc/>
    public void Dispose() => _memory?.Dispose();
}

/// <summary>The angles of a rotation on the device: [positions x pairs] cosines and sines, in pieces that are made when a position in them is met.</summary>
internal sealed class GpuRopeTable(GpuDevice device, RopeTable rope) : IDisposable
{
    /// <summary>Positions of a piece.</summary>
    public const int Positions = 256;

    private readonly List<GpuBuffer?> _pieces = [];

    /// <summary>The piece with a position.</summary>
    public GpuBuffer Of(int position)
    {
        int piece = position / Positions;
        while (_pieces.Count <= piece)
            _pieces.Add(null);
        return _pieces[piece] ??= Made(piece * Positions);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (GpuBuffer? piece in _pieces)
            piece?.Dispose();
    }

    private GpuBuffer Made(int first)
    {
        int pairs = rope.Pairs;
        float[] turns = GC.AllocateUninitializedArray<float>(Positions * pairs * 2), cosine = new float[pairs], sine = new float[pairs];
        for (int p = 0; p < Positions; p++)
        {
            rope.Rotation(first + p, cosine, sine);
            for (int i = 0; i < pairs; i++)
                (turns[((p * pairs) + i) * 2], turns[(((p * pairs) + i) * 2) + 1]) = (cosine[i], sine[i]);
        }

        return device.Allocate(System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(turns), "a rotation");
    }
}
