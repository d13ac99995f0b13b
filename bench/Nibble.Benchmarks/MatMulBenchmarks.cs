using System.Globalization;
using BenchmarkDotNet.Attributes;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Cpu;

namespace Nibble.Benchmarks;

/// <summary>Products with a matrix of each format: the shapes of a model of 1.1B parameters (2048 wide, FFN 5632, vocabulary 32000).</summary>
/// <remarks>A model's weights do not fit in the caches, so every call takes the next of several matrices that do not fit either.</remarks>
public class MatMulBenchmarks
{
    private const long TotalBytes = 512L << 20;

    private readonly List<RandomMatrix> _sources = [];
    private readonly List<Weight> _weights = [];
    private CpuBackend _backend = null!;
    private Tensor _x, _y;
    private int _next;

    /// <summary>Names of <see cref="BlockFormats"/> that the backend multiplies.</summary>
    public static IEnumerable<string> Formats
    {
        get
        {
            using CpuBackend backend = new(new CpuOptions { Threads = 1 });
            return [.. BlockFormats.All.Where(format => backend.Supports(Operation.MatMul, format)).Select(format => format.Name)];
        }
    }

    /// <summary>The format.</summary>
    [ParamsSource(nameof(Formats))]
    public string Format { get; set; } = "Q4_0";

    /// <summary>Rows x columns.</summary>
    [Params("2048 x 2048", "5632 x 2048", "2048 x 5632", "32000 x 2048")]
    public string Shape { get; set; } = "2048 x 2048";

    /// <summary>Tokens: 1 in decoding, 512 in a prefill.</summary>
    [Params(1, 4, 512)]
    public int Tokens { get; set; }

    /// <summary>Draws matrices and activations.</summary>
    [GlobalSetup]
    public void Setup()
    {
        BlockFormat format = BlockFormats.Find(Format)!;
        (int rows, int columns) = Sizes(Shape);
        _backend = new CpuBackend();
        long bytes = rows * format.RowBytes(columns);
        for (int i = 0; i < Math.Max(1, TotalBytes / bytes); i++)
        {
            _sources.Add(new RandomMatrix(format, rows, columns, i));
            _weights.Add(_backend.Upload(_sources[i]));
            _backend.Prepare(_weights[i]);
        }

        _x = _backend.Allocate(ElementType.Float32, Tokens, columns);
        _y = _backend.Allocate(ElementType.Float32, Tokens, rows);
        _backend.Write(Drawn.Normal(Tokens * columns), _x);
    }

    /// <summary>One product.</summary>
    [Benchmark]
    public void MatMul()
    {
        _backend.MatMul(_x, _weights[_next], _y);
        _next = (_next + 1) % _weights.Count;
    }

    /// <summary>Frees everything.</summary>
    [GlobalCleanup]
    public void Cleanup()
    {
        _x.Buffer.Dispose();
        _y.Buffer.Dispose();
        foreach (Weight weight in _weights) weight.Dispose();
        foreach (RandomMatrix source in _sources) source.Dispose();
        _backend.Dispose();
    }

    /// <summary>Multiplications with addition of a call, and the bytes of weights that it reads.</summary>
    /// <param name="format">A name of <see cref="Formats"/>.</param>
    /// <param name="shape">A value of <see cref="Shape"/>.</param>
    /// <param name="tokens">Tokens.</param>
    internal static (double Macs, double Bytes) Work(string format, string shape, int tokens)
    {
        (int rows, int columns) = Sizes(shape);
        return ((double)rows * columns * tokens, (double)rows * BlockFormats.Find(format)!.RowBytes(columns));
    }

    private static (int Rows, int Columns) Sizes(string shape)
    {
        string[] sizes = shape.Split(" x ");
        return (int.Parse(sizes[0], CultureInfo.InvariantCulture), int.Parse(sizes[1], CultureInfo.InvariantCulture));
    }
}
