using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Core.Memory;

namespace Nibble.Core.Compute;

/// <summary>Two backends that run one model together: a device that has some of its layers, and the host, which has the rest.</summary>
/// <remarks>
/// An operation happens where its weights or its keys and values are; one that has neither, where its inputs are. Activations that are newer in the other memory are copied then, which in a model of two parts are
/// the states of a batch once on the way in and once on the way out. Rows of embeddings are looked up by the host.
/// </remarks>
public sealed partial class SplitBackend : Backend
{
    private const int MovedValues = 1 << 20;

    private readonly Backend _device;
    private readonly Backend _host;
    private readonly SplitPlacement _placement;
    private readonly bool _ownsDevice, _ownsHost;
    private NativeBuffer? _staging;
    private Weight[] _weights = [];
    private Tensor[] _outputs = [];

    // Where the last operation happened whose weight had a place.
    private Sides _current = Sides.Host;

    /// <summary>Puts two backends together.</summary>
    /// <param name="device">Has the layers that the placement gives it.</param>
    /// <param name="host">Has the others.</param>
    /// <param name="placement">Which is where.</param>
    /// <param name="ownsDevice">Whether the device is disposed of with this backend.</param>
    /// <param name="ownsHost">Whether the host is.</param>
    public SplitBackend(Backend device, Backend host, SplitPlacement placement, bool ownsDevice = true, bool ownsHost = true)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(host);
        ArgumentNullException.ThrowIfNull(placement);
        (_device, _host, _placement, _ownsDevice, _ownsHost) = (device, host, placement, ownsDevice, ownsHost);
    }

    /// <summary>The device.</summary>
    public Backend Device => _device;

    /// <summary>The host.</summary>
    public Backend Host => _host;

    /// <summary>Which part is where.</summary>
    public SplitPlacement Placement => _placement;

    /// <summary>Values that were copied from one memory to the other so far.</summary>
    public long MovedCount { get; private set; }

    /// <inheritdoc/>
    public override string Name => $"{_device.Name}+{_host.Name}";

    /// <inheritdoc/>
    public override string Description => $"{_device.Description}; and {_host.Description}";

    /// <summary>Bytes that both can still allocate.</summary>
    public override long AvailableBytes => _host.AvailableBytes > long.MaxValue - _device.AvailableBytes ? long.MaxValue : _host.AvailableBytes + _device.AvailableBytes;

    /// <inheritdoc/>
    /// <remarks>A format that the device cannot use is the host's in every layer.</remarks>
    public override bool Supports(Operation operation, BlockFormat format) =>
        operation == Operation.KvCache ? _host.Supports(operation, format) && _device.Supports(operation, format) : _host.Supports(operation, format);

    /// <inheritdoc/>
    public override string KernelName(Operation operation, BlockFormat format) => $"{_device.KernelName(operation, format)}; on {_host.Name} {_host.KernelName(operation, format)}";

    /// <inheritdoc/>
    public override long UploadBytes(IWeightSource source)
    {
        ArgumentNullException.ThrowIfNull(source);
        return On(source.Name == SplitPlacement.Embedding && _placement.TakesOutput ? Usable(source, Sides.Device) : HomeOf(source)).UploadBytes(source);
    }

    /// <inheritdoc/>
    public override Weight Upload(IWeightSource source, ReadOnlySpan<float> scales = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        return new SplitWeight(this, source, scales, HomeOf(source));
    }

    /// <inheritdoc/>
    public override void Prepare(Weight weight)
    {
        SplitWeight own = SplitWeight.Of(weight);
        if (own.Name == SplitPlacement.Embedding && _placement.TakesOutput && _device.Supports(Operation.MatMul, own.Format)) own.MoveTo(Sides.Device);
        On(own.Home).Prepare(own.On(own.Home));
    }

    /// <inheritdoc/>
    public override void BeginLoad(GgufFile file)
    {
        _device.BeginLoad(file);
        _host.BeginLoad(file);
    }

    /// <inheritdoc/>
    public override WeightCacheReport? EndLoad(bool isWhole)
    {
        WeightCacheReport? device = _device.EndLoad(isWhole);
        return _host.EndLoad(isWhole) ?? device;
    }

    /// <inheritdoc/>
    public override Tensor Allocate(ElementType type, int rows, int columns)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        ArgumentOutOfRangeException.ThrowIfNegative(columns);
        return new Tensor(new SplitBuffer(this, type, rows, columns), 0, rows, columns, columns);
    }

    /// <inheritdoc/>
    public override KvCache AllocateKv(ReadOnlySpan<KvLayer> layers, int capacity, BlockFormat format, int batch) => new SplitKvCache(this, layers, capacity, format, batch);

    /// <summary>The backend of a side.</summary>
    internal Backend On(Sides side) => side == Sides.Device ? _device : _host;

    /// <summary>Whether a layer of a KV cache is the device's.</summary>
    internal bool KeepsOnDevice(int layer) => layer < _placement.KvOnDevice.Length && _placement.KvOnDevice[layer];

    /// <summary>Copies elements to a side's memory from the other's.</summary>
    internal void Move(ElementType type, TensorBuffer from, TensorBuffer to, Sides side, long start, long count)
    {
        Backend target = On(side), source = On(Sides.Both ^ side);
        MovedCount += count;
        for (long end = start + count; start < end;)
        {
            int piece = (int)Math.Min(MovedValues, end - start);
            if (_staging is null || _staging.Length < piece * 4L)
            {
                _staging?.Dispose();
                _staging = new NativeBuffer(piece * 4L, isZeroed: false);
            }

            Tensor old = new(from, start, 1, piece, piece), fresh = new(to, start, 1, piece, piece);
            if (type == ElementType.Int32)
            {
                source.Read(old, _staging.Span<int>(0, piece));
                target.Write(_staging.Span<int>(0, piece), fresh);
            }
            else
            {
                source.Read(old, _staging.Span<float>(0, piece));
                target.Write(_staging.Span<float>(0, piece), fresh);
            }

            start += piece;
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (!disposing) return;
        _staging?.Dispose();
        if (_ownsDevice) _device.Dispose();
        if (_ownsHost) _host.Dispose();
    }

    private Sides HomeOf(IWeightSource source) => _placement.Takes(source.Name) ? Usable(source, Sides.Device) : Sides.Host;

    private Sides Usable(IWeightSource source, Sides side) => _device.Supports(Operation.MatMul, source.Format) ? side : Sides.Host;
}
