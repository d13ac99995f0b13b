using System.Runtime.InteropServices;
using Nibble.Core.Compute;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Core.Memory;
using Nibble.Gpu.Drivers;
using Nibble.Gpu.Weights;

namespace Nibble.Gpu;

/// <summary>Computes on a GPU, or whatever else has an OpenCL driver, with kernels of its own. Holds the operations and the geometry of launches; a <see cref="GpuDevice"/> knows the driver.</summary>
/// <remarks>
/// <para>Calls enqueue; a read waits. Products are computed in float32 with decoded weights, and activations as they are, or as a weight's stored scale rounds them; or, where the device's features allow (<see cref="GpuFeatures"/>) and
/// <see cref="GpuOptions.IsExact"/> does not forbid it, of integer codes with activations of 8 bits (as <c>cpu</c> rounds them) or in half arithmetic, scaled and summed in float32. Results of a device are the same from run to run, whatever the batch, but for the order of the sums of a product and of attention: it depends on
/// how many tokens are multiplied at a time.</para>
/// <para>Rows of a table of embeddings are decoded on the device where products read the table, too; else on the host, and copied, so that the device need not hold a table of which a token reads a row.</para>
/// </remarks>
public sealed partial class GpuBackend : Backend
{
    private readonly GpuDevice _device;
    private readonly KernelSources _kernels;
    private readonly GpuOptions _options;
    private readonly GpuBuffer _none;
    private readonly GpuFeatures _features;
    private readonly GpuScratch _inputs, _routes, _parts, _rotated, _ids, _choices, _order, _blocks;
    private readonly Dictionary<RopeTable, GpuRopeTable> _ropes = [];
    private readonly int _rowVector, _elementItems, _normItems, _attentionItems;
    private readonly List<string> _widened = [];
    private NativeBuffer? _staging;
    private GpuBuffer? _gelu;
    private bool _disposed;

    /// <summary>Opens a device of OpenCL.</summary>
    /// <param name="index">Its number in <see cref="GpuDevices.OpenCl"/>.</param>
    /// <param name="options">How to compute; null for the defaults.</param>
    /// <exception cref="GpuException">There is no such device, or it cannot be used.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of range.</exception>
    public GpuBackend(int index = 0, GpuOptions? options = null)
        : this(GpuDevices.OpenOpenCl(index, Checked(options)), Checked(options))
    {
    }

    internal GpuBackend(GpuDevice device, GpuOptions options)
    {
        _device = device;
        _options = options;
        try
        {
            _features = options.EmulatesFeatures ? options.Features ?? GpuFeatureNames.All : options.Features is { } asked ? GpuFeatureNames.Chosen(device.Info, asked, null) : device.Info.UsedFeatures;
            if (options.IsExact) _features &= GpuFeatures.SubGroups;
            _kernels = new KernelSources(device, _features, options.EmulatesFeatures);
            _none = device.Allocate(16, "no argument");
            device.Clear(_none);
        }
        catch
        {
            device.Dispose();
            throw;
        }

        _inputs = new GpuScratch(device, "packed activations");
        _routes = new GpuScratch(device, "the choice of experts");
        _parts = new GpuScratch(device, "parts of attention");
        _rotated = new GpuScratch(device, "rotated heads");
        _ids = new GpuScratch(device, "the numbers of rows");
        _choices = new GpuScratch(device, "the highest values of parts");
        _order = new GpuScratch(device, "the tokens of experts");
        _blocks = new GpuScratch(device, "blocks of tokens of one expert");
        bool isProcessor = device.Info.IsProcessor;
        int most = PowerOfTwo(Math.Max(1, device.Info.MaxGroupItems));
        _rowVector = options.RowVector != 0 ? options.RowVector : isProcessor ? 16 : 4;
        _elementItems = Math.Min(most, isProcessor ? 128 : 64);
        _normItems = Math.Min(most, isProcessor ? 32 : 256);
        _attentionItems = Math.Min(most, 64);
    }

    /// <inheritdoc/>
    public override string Name => "opencl";

    /// <inheritdoc/>
    public override string Description => $"{_device.Info.DeviceName}: {_device.Info}; features {GpuFeatureNames.Line(_features)}{(_options.IsExact ? ", exact" : "")}; products of {_rowVector} rows an item{(_options.TiledTokens != 0 || !_device.Info.IsProcessor ? $", in tiles from {(_options.TiledTokens != 0 ? _options.TiledTokens : LeastTiled)} tokens" : "")}";

    /// <summary>The features that kernels use.</summary>
    public GpuFeatures Features => _features;

    /// <summary>The device as its driver describes it.</summary>
    public GpuDeviceInfo Device => _device.Info;

    /// <summary>Buffers of the device that are in use, those of the backend included.</summary>
    public int LiveBuffers => _device.LiveBuffers;

    /// <inheritdoc/>
    public override long AvailableBytes => Math.Max(0, _device.Info.MemoryBytes - _device.LiveBytes);

    /// <inheritdoc/>
    public override bool Supports(Operation operation, BlockFormat format)
    {
        ArgumentNullException.ThrowIfNull(format);
        return operation == Operation.KvCache ? KvNumber(format) >= 0 : !BlockFormats.Integers.Contains(format);
    }

    /// <inheritdoc/>
    public override string KernelName(Operation operation, BlockFormat format)
    {
        string name = NameOf(operation, format);
        if (operation is not (Operation.MatMul or Operation.MatMulExperts) || PlanesOf(format) is not { } planes) return name;
        GpuFeatures used = Using(planes, 32, isTiled: true);
        return used == GpuFeatures.None ? name
            : used == GpuFeatures.PackedDot ? name.Replace("x float32", "x 8 bits", StringComparison.Ordinal)
            : $"{name}, or half in tiles";
    }

    // The planes of a block format; null for an encoding, whose tensors differ.
    private static PlaneFormat? PlanesOf(BlockFormat format) => format is EncodedFormat ? null : PlaneReader.OfFormat(format)?.Planes;

    /// <summary>Which kernel of tier 0 serves a format; a backend's <see cref="KernelName"/> says what its device's features change.</summary>
    /// <param name="operation">The use.</param>
    /// <param name="format">The format.</param>
    public static string NameOf(Operation operation, BlockFormat format)
    {
        ArgumentNullException.ThrowIfNull(format);
        return operation switch
        {
            Operation.GetRows => $"opencl: {format.Name} decoded to float32 where products read the table, too, else on the host",
            Operation.Vector => $"{format.Name} decoded to float32 at upload",
            Operation.KvCache => $"opencl: {format.Name} decoded to float32",
            _ when format is EncodedFormat encoded => $"opencl: {format.Name} as planes of 4 or 8 bits, or widened to F32 at upload, x float32{(encoded.HasInputScale ? " rounded by the stored scale" : "")}",
            _ => PlaneReader.OfFormat(format) is { } reader
                ? $"opencl: {format.Name} as planes of {Bits(reader.Planes.Code)} x float32"
                : $"opencl: {format.Name} widened to F32 at upload x float32",
        };
    }

    /// <inheritdoc/>
    public override long UploadBytes(IWeightSource source)
    {
        ArgumentNullException.ThrowIfNull(source);
        return GpuWeight.IsVector(source) ? source.Columns * 4L : GpuWeight.PackedBytes(source);
    }

    /// <inheritdoc/>
    public override Weight Upload(IWeightSource source, ReadOnlySpan<float> scales = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (!Supports(Operation.MatMul, source.Format))
            throw new ArgumentException($"{source.Name} is {source.Format}, for which there is no kernel.", nameof(source));
        return new GpuWeight(_device, source, scales);
    }

    /// <summary>Names of the weights that have no planes of their own and were widened to float32 when products first needed them, in that order.</summary>
    public IReadOnlyList<string> WidenedWeights => _widened;

    /// <inheritdoc/>
    public override void Prepare(Weight weight) => Packed(weight);

    /// <inheritdoc/>
    public override Tensor Allocate(ElementType type, int rows, int columns)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        ArgumentOutOfRangeException.ThrowIfNegative(columns);
        ObjectDisposedException.ThrowIf(_disposed, this);
        GpuTensorBuffer buffer = new(_device, type, (long)rows * columns);
        try
        {
            _device.Clear(buffer.Memory);
        }
        catch
        {
            buffer.Dispose();
            throw;
        }

        return new Tensor(buffer, 0, rows, columns, columns);
    }

    /// <inheritdoc/>
    public override KvCache AllocateKv(ReadOnlySpan<KvLayer> layers, int capacity, BlockFormat format, int batch)
    {
        ArgumentNullException.ThrowIfNull(format);
        ObjectDisposedException.ThrowIf(_disposed, this);
        return new GpuKvCache(_device, layers, capacity, format, batch);
    }

    /// <inheritdoc/>
    public override void Write(ReadOnlySpan<float> values, Tensor y)
    {
        Shapes.CheckCopy(y, values.Length);
        WriteRows(MemoryMarshal.AsBytes(values), y);
    }

    /// <inheritdoc/>
    public override void Write(ReadOnlySpan<int> values, Tensor y)
    {
        Shapes.CheckCopyIds(y, values.Length);
        WriteRows(MemoryMarshal.AsBytes(values), y);
    }

    /// <inheritdoc/>
    public override void Read(Tensor x, Span<float> values)
    {
        Shapes.CheckCopy(x, values.Length);
        ReadRows(x, MemoryMarshal.AsBytes(values));
    }

    /// <inheritdoc/>
    public override void Read(Tensor x, Span<int> values)
    {
        Shapes.CheckCopyIds(x, values.Length);
        ReadRows(x, MemoryMarshal.AsBytes(values));
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (_disposed || !disposing) return;
        _disposed = true;
        _device.Finish();
        foreach (GpuRopeTable rope in _ropes.Values)
            rope.Dispose();
        _kernels.Dispose();
        _inputs.Dispose();
        _routes.Dispose();
        _parts.Dispose();
        _rotated.Dispose();
        _ids.Dispose();
        _choices.Dispose();
        _order.Dispose();
        _blocks.Dispose();
        _gelu?.Dispose();
        _rounded?.Dispose();
        _none.Dispose();
        _staging?.Dispose();
        _device.Dispose();
    }

    /// <summary>The largest power of two up to a number.</summary>
    private static int PowerOfTwo(int most) => 1 << int.Log2(most);

    private static GpuOptions Checked(GpuOptions? options)
    {
        options ??= new GpuOptions();
        if (options.RowVector is not (0 or 4 or 8 or 16))
            throw new ArgumentOutOfRangeException(nameof(options), options.RowVector, "a work-item can have 4, 8 or 16 rows; 0 lets the device choose.");
        if (options.ColumnSplit is not (0 or 1 or 2 or 4 or 8 or 16))
            throw new ArgumentOutOfRangeException(nameof(options), options.ColumnSplit, "columns can be shared by 1, 2, 4, 8 or 16 work-items; 0 lets the device choose.");
        if (options.AttentionParts is < 0 or > 64)
            throw new ArgumentOutOfRangeException(nameof(options), options.AttentionParts, "attention can be cut into 1 to 64 parts; 0 lets the device choose.");
        ArgumentOutOfRangeException.ThrowIfNegative(options.TiledTokens);
        ArgumentOutOfRangeException.ThrowIfNegative(options.MaxBufferBytes);
        return options;
    }

    private static string Bits(PlaneCode code) => code switch
    {
        PlaneCode.Bits4 => "4 bits",
        PlaneCode.Bits5 => "5 bits",
        PlaneCode.Bits6 => "6 bits",
        PlaneCode.SignedByte => "8 bits",
        PlaneCode.Single => "float32",
        _ => "16 bits",
    };

    private GpuWeight Packed(Weight weight)
    {
        GpuWeight own = GpuWeight.Of(weight, _device);
        if (own.Parts.Length > 0) return own;
        own.Pack();
        if (own.Reader!.Planes.Code == PlaneCode.Single && weight.Format.Name != "F32") _widened.Add(weight.Name);
        return own;
    }

    // As in native/opencl/kv.cl.
    private static int KvNumber(BlockFormat format) => format.Name switch
    {
        "F32" => 0,
        "F16" => 1,
        "Q8_0" => 2,
        "Q4_0" => 3,
        _ => -1,
    };

    private void WriteRows(ReadOnlySpan<byte> values, Tensor y)
    {
        GpuBuffer memory = GpuTensorBuffer.Of(y);
        if (y.Stride == y.Columns || y.Rows == 1)
        {
            _device.Write(memory, y.Offset * 4, values);
            return;
        }

        for (int row = 0; row < y.Rows; row++)
            _device.Write(memory, (y.Offset + ((long)row * y.Stride)) * 4, values.Slice(row * y.Columns * 4, y.Columns * 4));
    }

    private void ReadRows(Tensor x, Span<byte> values)
    {
        GpuBuffer memory = GpuTensorBuffer.Of(x);
        if (x.Stride == x.Columns || x.Rows == 1)
        {
            _device.Read(memory, x.Offset * 4, values);
            return;
        }

        for (int row = 0; row < x.Rows; row++)
            _device.Read(memory, (x.Offset + ((long)row * x.Stride)) * 4, values.Slice(row * x.Columns * 4, x.Columns * 4));
    }
}
