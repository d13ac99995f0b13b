using BenchmarkDotNet.Attributes;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Cpu;

namespace Nibble.Benchmarks;

/// <summary>Attention of 32 heads of 64 values over 4 KV heads, a layer of a model of 1.1B parameters.</summary>
public class AttentionBenchmarks
{
    private const int Heads = 32, KvHeads = 4, HeadSize = 64;

    // A model has a cache for each layer, and one layer's stays in no core's own cache while the others have their turn.
    private const int Layers = 22;

    private static readonly AttentionOptions Options = new(Heads, 1 / MathF.Sqrt(HeadSize));

    private CpuBackend _backend = null!;
    private KvCache _cache = null!;
    private Tensor _queries, _keys, _values, _y;
    private int _layer;

    /// <summary>The format of keys and values.</summary>
    [Params("F16", "Q8_0")]
    public string Kv { get; set; } = "F16";

    /// <summary>Positions before the first token.</summary>
    [Params(0, 512, 4096)]
    public int Depth { get; set; }

    /// <summary>Tokens: 1 in decoding, 512 in a prefill.</summary>
    [Params(1, 512)]
    public int Tokens { get; set; }

    /// <summary>Fills the cache.</summary>
    [GlobalSetup]
    public void Setup()
    {
        _backend = new CpuBackend();
        _cache = _backend.AllocateKv([.. Enumerable.Repeat(new KvLayer(KvHeads, HeadSize, HeadSize), Layers)], Depth + Tokens, BlockFormats.Find(Kv)!, Tokens);
        _queries = _backend.Allocate(ElementType.Float32, Tokens, Heads * HeadSize);
        _keys = _backend.Allocate(ElementType.Float32, Tokens, KvHeads * HeadSize);
        _values = _backend.Allocate(ElementType.Float32, Tokens, KvHeads * HeadSize);
        _y = _backend.Allocate(ElementType.Float32, Tokens, Heads * HeadSize);
        _backend.Write(Drawn.Normal(Tokens * Heads * HeadSize), _queries);
        _backend.Write(Drawn.Normal(Tokens * KvHeads * HeadSize), _keys);
        _backend.Write(Drawn.Normal(Tokens * KvHeads * HeadSize), _values);
        for (int layer = 0; layer < Layers; layer++)
            for (int position = 0; position < _cache.Capacity; position += Tokens) _backend.StoreKv(_keys, _values, _cache, layer, Math.Min(position, Depth));
    }

    /// <summary>One layer's attention.</summary>
    [Benchmark]
    public void Attention() => _backend.Attention(_queries, _cache, NextLayer(), Depth, Options, _y);

    /// <summary>One layer's new keys and values.</summary>
    [Benchmark]
    public void StoreKv() => _backend.StoreKv(_keys, _values, _cache, NextLayer(), Depth);

    /// <summary>Frees everything.</summary>
    [GlobalCleanup]
    public void Cleanup()
    {
        foreach (Tensor tensor in (ReadOnlySpan<Tensor>)[_queries, _keys, _values, _y]) tensor.Buffer.Dispose();
        _cache.Dispose();
        _backend.Dispose();
    }

    private int NextLayer() => _layer = (_layer + 1) % Layers;
}
