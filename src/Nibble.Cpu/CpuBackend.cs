using System.Globalization;
using System.Runtime.InteropServices;
using Nibble.Core.Compute;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Core.Memory;
using Nibble.Cpu.Caching;
using Nibble.Cpu.Codes;
using Nibble.Cpu.Jobs;
using Nibble.Cpu.Kernels;
using Nibble.Cpu.Packed;
using Nibble.Cpu.Threading;

namespace Nibble.Cpu;

/// <summary>Computes on the processor's cores with vector instructions. Weights of products are packed when they are loaded, all others used where the file has them.</summary>
/// <remarks>
/// <para>A call returns when its result is there. Results do not depend on the number of threads or on how tokens are batched.</para>
/// <para>Products: with <see cref="CpuOptions.Exact"/>, and always for what has no packed order (F32, NVFP4, and the rare weight with halves of 64 or more, or BF16 values of 2^32 or more), weights are
/// decoded and multiplied in float32. F16, BF16 and encoded FP8 are packed, and multiplied in float32 too. Otherwise activations become 8-bit integers with a scale per 32, products are exact integers, and their sums per 32 are added in float32;
/// an activation that is NaN or infinite, or 2^63 or more, then makes its row's products NaN or infinite.</para>
/// <para>Attention: keys, values, queries and weights are multiplied as integers of 12 to 14 bits; with <see cref="CpuOptions.Exact"/>, or a cache of F32, in float32.</para>
/// <para>Only one thread may be inside a call; a second one gets an <see cref="InvalidOperationException"/>.</para>
/// </remarks>
public sealed partial class CpuBackend : Backend
{
    // Below about 10 microseconds of work waking the team costs more than it brings.
    private const long SharedWork = 100_000;

    private readonly CpuPath _path;
    private readonly bool _exact;
    private readonly ThreadTeam _team;
    private readonly Scratch[] _threadScratch;
    private readonly Scratch _forms = new(), _tokenTiles = new(), _lists = new();
    private readonly MatMulJob _matMul;
    private readonly PackedMatMulJob _packedMatMul;
    private readonly BlockKernel[]? _packedKernels;
    private readonly PackJob _pack;
    private readonly NativeArena _arena = new();
    private readonly AttentionJob _attention;
    private readonly NormJob _norm;
    private readonly RopeJob _rope = new();
    private readonly StoreJob _store;
    private readonly GetRowsJob _getRows;
    private readonly AddJob _add;
    private readonly AddExpertBiasJob _addExpertBias;
    private readonly ChangeJob _change;
    private readonly ActivationJob _activation;
    private readonly CombineJob _combine;
    private readonly ConvolutionJob _convolution;
    private readonly DeltaRuleJob _deltaRule;
    private readonly StateSpaceJob _stateSpace;
    private readonly RouteJob _route;
    private int _busy;
    private bool _disposed;

    /// <summary>Starts the threads.</summary>
    /// <param name="options">How to compute; null for the defaults.</param>
    /// <exception cref="ArgumentException">The path is unknown or does not run here, or packed weights are to be kept where none are made.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The number of threads is negative or above 1024.</exception>
    public CpuBackend(CpuOptions? options = null)
    {
        options ??= new CpuOptions();
        ArgumentOutOfRangeException.ThrowIfNegative(options.Threads, nameof(options));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.Threads, 1024, nameof(options));
        if (options.CacheWeights && options.Exact)
            throw new ArgumentException("exact products (--exact) use weights as the file has them, so there are no packed ones to keep; leave out --cache-weights.", nameof(options));
        _cachesWeights = options.CacheWeights;
        _path = CpuPaths.Choose(options.Path);
        _exact = options.Exact;
        CpuKernels kernels = _path.NewKernels();
        int threads = options.Threads == 0 ? PhysicalCores.Count() : options.Threads;
        // With fewer threads than cores the system knows better which cores are free.
        IReadOnlyList<int[]> cores = PhysicalCores.All();
        _team = new ThreadTeam(threads, Math.Min(threads, Environment.ProcessorCount) == cores.Count ? cores : null);
        _threadScratch = new Scratch[_team.Threads];
        for (int i = 0; i < _threadScratch.Length; i++)
            _threadScratch[i] = new Scratch();
        _matMul = new MatMulJob(kernels, _threadScratch);
        _packedMatMul = new PackedMatMulJob(kernels, _threadScratch, _team.Places);
        _team.Idle = _packedMatMul;
        _packedKernels = _exact ? [] : options.Path is null ? null : PackedKernels.Of(_path.Name);
        _pack = new PackJob(_threadScratch);
        _attention = new AttentionJob(kernels, _threadScratch);
        _norm = new NormJob(kernels);
        _store = new StoreJob(_threadScratch);
        _getRows = new GetRowsJob(kernels, _threadScratch);
        _add = new AddJob(kernels);
        _addExpertBias = new AddExpertBiasJob(kernels);
        _change = new ChangeJob(kernels);
        _activation = new ActivationJob(kernels);
        _combine = new CombineJob(kernels);
        _convolution = new ConvolutionJob(kernels);
        _deltaRule = new DeltaRuleJob(kernels, _threadScratch);
        _stateSpace = new StateSpaceJob(kernels, _threadScratch);
        _route = new RouteJob(_threadScratch);
    }

    /// <inheritdoc/>
    public override string Name => "cpu";

    /// <inheritdoc/>
    public override string Description =>
        $"{RuntimeInformation.ProcessArchitecture}, {Environment.ProcessorCount} processors; {Threads} threads, path {_path.Name} ({_path.Does}){(_exact ? ", exact" : "")}";

    /// <summary>Threads, the calling one included.</summary>
    public int Threads => _team.Threads;

    /// <summary>The instruction path.</summary>
    public CpuPath Path => _path;

    /// <summary>Bytes that the system can still give without swapping: <c>MemAvailable</c> of /proc/meminfo within the runtime's own limit, elsewhere only that limit less what is in use.</summary>
    public override long AvailableBytes
    {
        get
        {
            // The runtime's bound knows of container limits; what the kernel calls available knows of other programs, and counts mapped model files as free.
            long limit = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
            return OperatingSystem.IsLinux() && MemAvailable("/proc/meminfo") is { } available ? Math.Min(available, limit) : limit;
        }
    }

    /// <inheritdoc/>
    public override bool Supports(Operation operation, BlockFormat format)
    {
        ArgumentNullException.ThrowIfNull(format);
        return operation == Operation.KvCache ? KvCache.Formats.Contains(format) : CodeFormats.Find(format) is not null || IsFloat(format) || format is EncodedFormat;
    }

    /// <inheritdoc/>
    public override string KernelName(Operation operation, BlockFormat format)
    {
        ArgumentNullException.ThrowIfNull(format);
        return operation switch
        {
            Operation.MatMul or Operation.MatMulExperts when format is EncodedFormat encoded && !_exact =>
                $"{_path.Name}: {format.Name} packed by 16 rows x {(encoded.Use == CodeUse.Float ? "float32" : "8-bit")} activations",
            Operation.MatMul or Operation.MatMulExperts => PackedKernelOf(format) is { } kernel
                ? $"{_path.Name}: {format.Name} packed by 16 rows x {(kernel.Kind == CodeKind.Floats ? "float32" : "8-bit")} activations, {kernel.Instructions}"
                : $"{_path.Name}: {(format.Name == "F32" ? "F32" : format.Name + " decoded to float32")} x float32",
            Operation.KvCache => $"{_path.Name}: {format.Name} tiles {(_exact || format.Name == "F32" ? "decoded to float32" : "rounded to 16-bit integers")}",
            _ => $"{format.Name} decoded to float32",
        };
    }

    /// <inheritdoc/>
    public override long UploadBytes(IWeightSource source)
    {
        ArgumentNullException.ThrowIfNull(source);
        if (source.IsStored && _cache?.Has(source) == true) return CpuWeight.VectorBytes(source);
        if (KernelOf(source) is not { } kernel || (long)source.Rows * source.Matrices <= 1) return CpuWeight.VectorBytes(source);
        long bytes = PackedMatrix.Bytes(kernel, source.Columns, source.Rows, source.Matrices);
        return source is EncodedTensor encoded ? bytes + OutlierColumns.Bytes(encoded) : bytes;
    }

    /// <inheritdoc/>
    public override Weight Upload(IWeightSource source, ReadOnlySpan<float> scales = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (!Supports(Operation.MatMul, source.Format))
            throw new ArgumentException($"{source.Name} is {source.Format}, for which there is no CPU kernel.", nameof(source));
        return new CpuWeight(source, scales);
    }

    /// <inheritdoc/>
    public override void Prepare(Weight weight)
    {
        CpuWeight own = CpuWeight.Of(weight);
        using Call call = Enter();
        Pack(own);
    }

    /// <inheritdoc/>
    public override Tensor Allocate(ElementType type, int rows, int columns) => HostTensorBuffer.NewTensor(type, rows, columns);

    /// <inheritdoc/>
    public override KvCache AllocateKv(ReadOnlySpan<KvLayer> layers, int capacity, BlockFormat format, int batch) =>
        new HostKvCache(layers, capacity, format, batch);

    /// <inheritdoc/>
    public override void Write(ReadOnlySpan<float> values, Tensor y)
    {
        Shapes.CheckCopy(y, values.Length);
        using Call call = Enter();
        for (int row = 0; row < y.Rows; row++)
            values.Slice(row * y.Columns, y.Columns).CopyTo(HostTensorBuffer.Row(y, row));
    }

    /// <inheritdoc/>
    public override void Write(ReadOnlySpan<int> values, Tensor y)
    {
        Shapes.CheckCopyIds(y, values.Length);
        using Call call = Enter();
        for (int row = 0; row < y.Rows; row++)
            values.Slice(row * y.Columns, y.Columns).CopyTo(HostTensorBuffer.IntRow(y, row));
    }

    /// <inheritdoc/>
    public override void Read(Tensor x, Span<float> values)
    {
        Shapes.CheckCopy(x, values.Length);
        using Call call = Enter();
        for (int row = 0; row < x.Rows; row++)
            HostTensorBuffer.Row(x, row).CopyTo(values.Slice(row * x.Columns, x.Columns));
    }

    /// <inheritdoc/>
    public override void Read(Tensor x, Span<int> values)
    {
        Shapes.CheckCopyIds(x, values.Length);
        using Call call = Enter();
        for (int row = 0; row < x.Rows; row++)
            HostTensorBuffer.IntRow(x, row).CopyTo(values.Slice(row * x.Columns, x.Columns));
    }

    /// <summary>The number of <c>MemAvailable</c> in bytes, or null.</summary>
    internal static long? MemAvailable(string path)
    {
        try
        {
            foreach (string line in File.ReadLines(path))
            {
                if (!line.StartsWith("MemAvailable:", StringComparison.Ordinal)) continue;
                ReadOnlySpan<char> number = line.AsSpan("MemAvailable:".Length).Trim();
                if (number.EndsWith(" kB")) number = number[..^3];
                return long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out long kibibytes) ? kibibytes * 1024 : null;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Without the file the runtime's own limit remains.
        }

        return null;
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (_disposed || !disposing) return;
        using (Call call = Enter())
            _disposed = true;
        _cache?.Dispose();
        _arena.Dispose();
        _team.Dispose();
        foreach (Scratch own in _threadScratch)
            own.Dispose();
        _forms.Dispose();
        _tokenTiles.Dispose();
        _lists.Dispose();
        _rope.Dispose();
        _getRows.Dispose();
        _attention.Dispose();
    }

    private static bool IsFloat(BlockFormat format) => format.Name is "F32" or "F16" or "BF16";

    // Without a forced path the fastest kernels are chosen, format by format, by measuring.
    private BlockKernel? PackedKernelOf(BlockFormat format) => _packedKernels is null ? PackedKernels.Fastest(format) : PackedKernels.Find(_packedKernels, format);

    // The kernels of a weight that has a packed order; its values may still have none.
    private PackedKernel? KernelOf(IWeightSource source)
    {
        if (source is EncodedTensor encoded) return _exact ? null : _packedKernels is null ? EncodedKernels.Fastest(encoded) : EncodedKernels.Of(_path.Name, encoded);
        return source.IsStored && PackedKernelOf(source.Format) is { } kernel && source.Columns % kernel.TileColumns == 0 ? kernel : null;
    }

    private void Pack(CpuWeight weight)
    {
        if (weight.Packed is not null || weight.IsUnpackable) return;
        if (KernelOf(weight.Source) is not { } kernel)
        {
            weight.IsUnpackable = true;
            return;
        }

        // What is made of several tensors is not kept.
        WeightCache? cache = weight.Source.IsStored ? _cache : null;
        if (cache?.Take(weight, kernel) == true) return;
        PackedMatrix packed = new(kernel, weight.Columns, weight.Rows, weight.Matrices, _arena, weight.Source as EncodedTensor);
        try
        {
            _pack.Prepare(weight, packed);
            Start(_pack, (long)weight.Columns * weight.Rows * weight.Matrices);
        }
        catch
        {
            // The file could not be read.
            packed.Dispose();
            throw;
        }
        finally
        {
            _pack.Finish();
        }

        if (_pack.Fits) weight.Packed = packed;
        else packed.Dispose();
        weight.IsUnpackable = !_pack.Fits;
        cache?.Add(weight);
    }

    private Call Enter()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (Interlocked.CompareExchange(ref _busy, 1, 0) != 0)
            throw new InvalidOperationException("another thread is inside a call of this CpuBackend; one thread at a time may use it.");
        return new Call(this);
    }

    // Small work is done here and now.
    private void Start(TeamJob job, int parts, long work) => _team.Run(job, work < SharedWork ? Math.Min(parts, 1) : parts);

    private void Start(UnitJob job, long work) => Start(job, Math.Min(job.Units, 4 * _team.Places), work);

    private readonly ref struct Call(CpuBackend backend)
    {
        public void Dispose() => Volatile.Write(ref backend._busy, 0);
    }
}
