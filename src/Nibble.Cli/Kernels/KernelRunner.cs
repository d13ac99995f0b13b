using System.Diagnostics;
using Nibble.Core.Compute;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;

namespace Nibble.Cli.Kernels;

/// <summary>Measures products as models ask for them: <see cref="Backend.MatMul(Tensor, Weight, Tensor)"/> with weights that were uploaded and prepared.</summary>
/// <remarks>A model's weights do not fit in the caches, so every product takes the next of several matrices that do not fit either.</remarks>
internal sealed class KernelRunner : IDisposable
{
    private const long LeastBytes = 64 << 20;
    private const long MostBytes = 1 << 30;
    private const int MostCopies = 1024;
    private static readonly TimeSpan SampleTime = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan WarmUpTime = TimeSpan.FromMilliseconds(30);

    // Until the runtime has compiled what calls the kernels a second time.
    private static readonly TimeSpan FirstWarmUpTime = TimeSpan.FromMilliseconds(400);

    private readonly Backend _backend;
    private readonly KernelMachine _machine;
    private readonly Action<string> _progress;
    private readonly CancellationToken _cancellation;
    private double? _read;
    private bool _isWarm;

    /// <summary>Gets ready to measure.</summary>
    /// <param name="backend">What computes; its owner disposes of it after the runner.</param>
    /// <param name="progress">Told what happens.</param>
    /// <param name="cancellation">Looked at between products.</param>
    /// <exception cref="InsufficientMemoryException">There is no memory to measure the memory's speed.</exception>
    public KernelRunner(Backend backend, Action<string> progress, CancellationToken cancellation)
    {
        (_backend, _progress, _cancellation) = (backend, progress, cancellation);
        _machine = KernelMachine.Of(backend);
    }

    /// <summary>Measures a format: every shape with every number of tokens, and what is possible before and after.</summary>
    /// <param name="format">The format.</param>
    /// <param name="shapes">The shapes, which fit the format.</param>
    /// <param name="tokens">Numbers of tokens.</param>
    /// <param name="repetitions">Samples of each.</param>
    /// <exception cref="OperationCanceledException">It was stopped.</exception>
    /// <exception cref="InsufficientMemoryException">There is no memory for a matrix or its tokens.</exception>
    public List<KernelResult> Run(BlockFormat format, IReadOnlyList<KernelShape> shapes, IReadOnlyList<int> tokens, int repetitions)
    {
        KernelPeaks before = Peaks(format, _read);
        List<KernelResult> results = [];
        foreach (KernelShape shape in shapes)
        {
            _progress($"{_machine.Path} {format} {shape}: packing");
            using Matrices matrices = new(this, format, shape, tokens.Max());
            foreach (int count in tokens)
            {
                _progress($"{_machine.Path} {format} {shape}: {count} token{(count == 1 ? string.Empty : "s")}");
                results.Add(new KernelResult
                {
                    Device = _backend.Name,
                    Description = _backend.Description,
                    Path = _machine.Path,
                    Threads = _machine.Threads,
                    Instructions = _machine.Instructions(format),
                    Format = format,
                    Shape = shape,
                    Tokens = count,
                    Copies = matrices.Count,
                    FileBytes = matrices.FileBytes,
                    WeightBytes = matrices.WeightBytes,
                    IsFromMemory = matrices.Count * matrices.WeightBytes > _machine.CacheBytes,
                    Samples = Samples(matrices, count, repetitions),
                    Peaks = before,
                });
            }
        }

        KernelPeaks after = Peaks(format, null), peaks = new((before.ReadBytes + after.ReadBytes) / 2, (before.Macs + after.Macs) / 2);
        _read = after.ReadBytes;
        return results.ConvertAll(result => result with { Peaks = peaks });
    }

    /// <inheritdoc/>
    public void Dispose() => _machine.Dispose();

    // The memory's speed was measured right before where another format was.
    private KernelPeaks Peaks(BlockFormat format, double? read)
    {
        _progress($"{_machine.Path} {format}: measuring the memory's and the multipliers' speed");
        return new KernelPeaks(read ?? _machine.ReadBytes(_cancellation), _machine.Macs(format, _cancellation));
    }

    private List<double> Samples(Matrices matrices, int tokens, int repetitions)
    {
        Tensor x = _backend.Allocate(ElementType.Float32, tokens, matrices.Shape.Columns), y = _backend.Allocate(ElementType.Float32, tokens, matrices.Shape.Rows);
        try
        {
            SplitMix64 random = new(1);
            float[] row = new float[x.Columns];
            for (int token = 0; token < tokens; token++)
            {
                foreach (ref float value in row.AsSpan())
                    value = ((random.Next() >> 40) / (float)(1 << 23)) - 1;
                _backend.Write(row, x.SliceRows(token, 1));
            }

            Sample(matrices, x, y, _isWarm ? WarmUpTime : FirstWarmUpTime);
            _isWarm = true;
            List<double> samples = [];
            for (int i = 0; i < repetitions; i++)
                samples.Add(Sample(matrices, x, y, SampleTime));
            return samples;
        }
        finally
        {
            x.Buffer.Dispose();
            y.Buffer.Dispose();
        }
    }

    // Seconds of a product: the mean of as many as take the time, at least one, or as many as are asked for at once.
    private double Sample(Matrices matrices, Tensor x, Tensor y, TimeSpan time)
    {
        int products = 0;
        long start = Stopwatch.GetTimestamp();
        TimeSpan elapsed;
        do
        {
            _cancellation.ThrowIfCancellationRequested();
            for (int i = 0; i < _machine.Batch; i++)
                _backend.MatMul(x, matrices.Next(), y);
            _machine.Finish();
            products += _machine.Batch;
            elapsed = Stopwatch.GetElapsedTime(start);
        }
        while (elapsed < time);
        return Math.Max(elapsed.TotalSeconds, 1e-9) / products;
    }

    /// <summary>As many equal matrices as are twice as large as the caches together, within bounds of memory and number.</summary>
    private sealed class Matrices : IDisposable
    {
        private readonly List<IWeightSource> _sources = [];
        private readonly List<Weight> _weights = [];
        private int _next;

        public Matrices(KernelRunner runner, BlockFormat format, KernelShape shape, int tokens)
        {
            Backend backend = runner._backend;
            Shape = shape;
            long fileBytes = shape.Rows * format.RowBytes(shape.Columns), available = backend.AvailableBytes;
            double least = (2.0 * fileBytes) + (8.0 * tokens * ((double)shape.Rows + shape.Columns));
            if (least > available / 2)
                throw new InsufficientMemoryException($"a matrix of {format} with {shape} values, packed and not, and {tokens} tokens take {least:N0} bytes; {available:N0} are free, of which half may be used. Give a smaller --shape or fewer --tokens.");
            try
            {
                _sources.Add(NewSource(format, shape));
                FileBytes = _sources[0].ByteLength;
                long packed = backend.UploadBytes(_sources[0]);
                WeightBytes = packed > 0 ? packed : fileBytes;
                long wanted = Math.Min(Math.Clamp(2 * runner._machine.CacheBytes, LeastBytes, MostBytes), available / 4);
                int count = (int)Math.Clamp((wanted + WeightBytes - 1) / WeightBytes, 1, MostCopies);
                for (int i = 0; i < count; i++)
                {
                    runner._cancellation.ThrowIfCancellationRequested();
                    // Packed matrices have memory of their own, others are read where their source has them.
                    if (packed == 0 && i > 0) _sources.Add(_sources[0] is RandomMatrix matrix ? matrix.Copy() : NewSource(format, shape));
                    _weights.Add(backend.Upload(_sources[^1]));
                    backend.Prepare(_weights[i]);
                }
            }
            catch
            {
                Dispose();
                throw;
            }
        }

        public KernelShape Shape { get; }

        public long FileBytes { get; }

        public long WeightBytes { get; }

        public int Count => _weights.Count;

        private static IWeightSource NewSource(BlockFormat format, KernelShape shape) => RandomEncodings.Find(format.Name, shape.Columns, shape.Rows) is { } encoding
            ? RandomEncodings.Create(encoding)
            : new RandomMatrix(format, shape.Rows, shape.Columns);

        public Weight Next()
        {
            Weight weight = _weights[_next];
            _next = (_next + 1) % _weights.Count;
            return weight;
        }

        public void Dispose()
        {
            foreach (Weight weight in _weights) weight.Dispose();
            foreach (IDisposable source in _sources.OfType<IDisposable>()) source.Dispose();
        }
    }
}
