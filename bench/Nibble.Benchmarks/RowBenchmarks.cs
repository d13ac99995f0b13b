using BenchmarkDotNet.Attributes;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Cpu;

namespace Nibble.Benchmarks;

/// <summary>What is done to rows of activations between products, in the sizes of a model of 1.1B parameters.</summary>
public class RowBenchmarks
{
    private const int Width = 2048, Inner = 5632, HeadSize = 64, Position = 1000;

    private CpuBackend _backend = null!;
    private RandomMatrix _gainSource = null!;
    private Weight _gain = null!;
    private RopeTable _rope = null!;
    private Tensor _x, _y, _gate, _up, _inner;

    /// <summary>Tokens: 1 in decoding, 512 in a prefill.</summary>
    [Params(1, 512)]
    public int Tokens { get; set; }

    /// <summary>Draws activations.</summary>
    [GlobalSetup]
    public void Setup()
    {
        _backend = new CpuBackend();
        _gainSource = new RandomMatrix(BlockFormats.F32, 1, Width, 1);
        _gain = _backend.Upload(_gainSource);
        _rope = new RopeTable(RopePairing.Adjacent, [.. Enumerable.Range(0, HeadSize / 2).Select(i => Math.Pow(10000, -2.0 * i / HeadSize))], 1);
        _x = _backend.Allocate(ElementType.Float32, Tokens, Width);
        _y = _backend.Allocate(ElementType.Float32, Tokens, Width);
        _gate = _backend.Allocate(ElementType.Float32, Tokens, Inner);
        _up = _backend.Allocate(ElementType.Float32, Tokens, Inner);
        _inner = _backend.Allocate(ElementType.Float32, Tokens, Inner);
        _backend.Write(Drawn.Normal(Tokens * Width), _x);
        _backend.Write(Drawn.Normal(Tokens * Inner), _gate);
        _backend.Write(Drawn.Normal(Tokens * Inner), _up);
    }

    /// <summary>RMS norm of rows of 2048.</summary>
    [Benchmark]
    public void Norm() => _backend.Norm(_x, new NormOptions(NormKind.Rms, 1e-5f), _gain, null, _y);

    /// <summary>RoPE of 32 heads of 64. It turns in place and keeps lengths, so that values stay as they are in size.</summary>
    [Benchmark]
    public void Rope() => _backend.Rope(_x, HeadSize, Position, _rope);

    /// <summary>silu(gate) x up of rows of 5632, into one that is written only.</summary>
    [Benchmark]
    public void GatedSilu() => _backend.GatedActivation(Activation.Silu, _gate, _up, _inner);

    /// <summary>The sum of two rows of 2048.</summary>
    [Benchmark]
    public void Add() => _backend.Add(_x, _x, _y);

    /// <summary>Frees everything.</summary>
    [GlobalCleanup]
    public void Cleanup()
    {
        foreach (Tensor tensor in (ReadOnlySpan<Tensor>)[_x, _y, _gate, _up, _inner]) tensor.Buffer.Dispose();
        _gain.Dispose();
        _gainSource.Dispose();
        _backend.Dispose();
    }
}
