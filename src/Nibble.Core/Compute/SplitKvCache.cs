using System.Collections.Immutable;
using Nibble.Core.Formats;

namespace Nibble.Core.Compute;

/// <summary>Keys and values of which each layer is in one of two memories.</summary>
internal sealed class SplitKvCache : KvCache
{
    private readonly ImmutableArray<(Sides Side, int Index)> _places;
    private readonly KvCache? _host, _device;

    public SplitKvCache(SplitBackend owner, ReadOnlySpan<KvLayer> layers, int capacity, BlockFormat format, int batch)
        : base(layers, capacity, format, batch)
    {
        List<KvLayer> host = [], device = [];
        ImmutableArray<(Sides, int)>.Builder places = ImmutableArray.CreateBuilder<(Sides, int)>(layers.Length);
        for (int i = 0; i < layers.Length; i++)
        {
            bool onDevice = owner.KeepsOnDevice(i);
            List<KvLayer> own = onDevice ? device : host;
            places.Add((onDevice ? Sides.Device : Sides.Host, own.Count));
            own.Add(layers[i]);
        }

        _places = places.MoveToImmutable();
        try
        {
            if (device.Count > 0) _device = owner.On(Sides.Device).AllocateKv([.. device], capacity, format, batch);
            if (host.Count > 0) _host = owner.On(Sides.Host).AllocateKv([.. host], capacity, format, batch);
        }
        catch
        {
            _device?.Dispose();
            throw;
        }
    }

    /// <summary>The cache as this class.</summary>
    /// <exception cref="ArgumentException">It belongs to another backend.</exception>
    public static SplitKvCache Of(KvCache cache) =>
        cache as SplitKvCache ?? throw new ArgumentException($"a KV cache of {cache?.GetType().Name} cannot be used by a backend of two devices.", nameof(cache));

    /// <summary>Where a layer is: side, cache and layer there.</summary>
    public (Sides Side, KvCache Cache, int Layer) Place(int layer)
    {
        (Sides side, int index) = _places[layer];
        return (side, side == Sides.Device ? _device! : _host!, index);
    }

    /// <inheritdoc/>
    public override void CopyFrom(KvCache source, int positions)
    {
        SplitKvCache from = Of(source);
        if (!from._places.AsSpan().SequenceEqual(_places.AsSpan())) throw new ArgumentException("the caches have their layers in different memories.", nameof(source));
        if (_device is not null) _device.CopyFrom(from._device!, positions);
        if (_host is not null) _host.CopyFrom(from._host!, positions);
    }

    /// <inheritdoc/>
    public override void ReadRow(int layer, bool values, int position, Span<byte> row)
    {
        (_, KvCache cache, int index) = Place(layer);
        cache.ReadRow(index, values, position, row);
    }

    /// <inheritdoc/>
    public override void WriteRow(int layer, bool values, int position, ReadOnlySpan<byte> row)
    {
        (_, KvCache cache, int index) = Place(layer);
        cache.WriteRow(index, values, position, row);
    }

    protected override void Dispose(bool disposing)
    {
        if (!disposing) return;
        _device?.Dispose();
        _host?.Dispose();
    }
}
