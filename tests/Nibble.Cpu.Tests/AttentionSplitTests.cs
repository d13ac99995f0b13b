using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Cpu.Tests;

/// <summary>Attention over contexts that are cut into chunks: by any number of threads, in any batches.</summary>
public class AttentionSplitTests
{
    // Around the ends of tiles (64 positions) and chunks (512).
    public static TheoryData<int> Contexts => [1, 2, 63, 64, 65, 511, 512, 513, 575, 577, 1024, 1025, 1500, 4097];

    [Theory]
    [MemberData(nameof(Contexts))]
    public void A_token_has_the_same_bits_with_any_number_of_threads(int context)
    {
        if (context > 600 && !System.Runtime.Intrinsics.Vector128.IsHardwareAccelerated) Assert.Skip("this process emulates vectors, which takes minutes for long contexts.");
        using ReferenceBackend reference = new();
        foreach ((int heads, KvLayer layer, string format) in new[]
        {
            (16, new KvLayer(2, 64, 64), "F16"), (6, new KvLayer(6, 32, 32), "Q8_0"), (5, new KvLayer(1, 24, 16), "F32"), (4, new KvLayer(2, 16, 16, 600), "F16"),
            (4, new KvLayer(2, 16, 16, 512, true), "F16"),
        })
        {
            foreach (bool exact in new[] { false, true })
            {
                foreach (int tokens in context > 3 && !exact ? new[] { 1, 3 } : [1])
                {
                    AttentionOptions options = new(heads, 0.7f / MathF.Sqrt(layer.KeySize));
                    float[] queries = Values.Random(new Random(tokens), tokens * heads * layer.KeySize);
                    float[]? first = null;
                    foreach (int threads in new[] { 1, 2, 3, 7 })
                    {
                        using CpuBackend backend = new(new CpuOptions { Threads = threads, Exact = exact });
                        using KvCache cache = Filled(backend, layer, context, format);
                        float[] y = Run(backend, cache, queries, context - tokens, tokens, options);
                        if (first is null)
                        {
                            first = y;
                            float[] expected = Run(reference, cache, queries, context - tokens, tokens, options);
                            Assert.InRange(Nmse.Of(y, expected), 0, AttentionTests.NmseBound(format, exact));
                        }

                        Assert.True(Values.SameBits(first, y), $"{layer} {format}, {tokens} tokens, {threads} threads, exact {exact}");
                    }
                }
            }
        }
    }

    [Theory]
    [InlineData("F16", 0, false)]
    [InlineData("Q8_0", 0, false)]
    [InlineData("F16", 0, true)]
    [InlineData("F16", 700, false)]
    public void Late_tokens_have_the_same_bits_in_any_batches_and_on_any_path(string format, int window, bool exact)
    {
        // Tokens 480 to 579 and 980 to 1079 lie on both sides of the ends of chunks; with the window, what they see begins in another one.
        const int Tokens = 100;
        KvLayer layer = new(2, 32, 32, window);
        AttentionOptions options = new(8, 0.2f);
        float[] queries = Values.Random(new Random(7), Tokens * 8 * 32);
        foreach (int position in new[] { 480, 980 })
        {
            float[]? first = null;
            foreach (string path in Cases.PathNames)
            {
                foreach ((int batch, int threads) in new[] { (Tokens, 2), (Tokens, 7), (1, 1), (1, 3), (7, 2), (33, 1) })
                {
                    using CpuBackend backend = new(new CpuOptions { Threads = threads, Exact = exact, Path = path });
                    using KvCache cache = Filled(backend, layer, 1100, format);
                    float[] y = new float[Tokens * 8 * 32];
                    for (int t = 0; t < Tokens; t += batch)
                    {
                        int count = Math.Min(batch, Tokens - t);
                        Run(backend, cache, queries[(t * 256)..((t + count) * 256)], position + t, count, options).CopyTo(y, t * 256);
                    }

                    first ??= y;
                    Assert.True(Values.SameBits(first, y), $"position {position}, {path}, batch {batch}, {threads} threads");
                }
            }
        }
    }

    [Theory]
    [InlineData(1, 576, 512, 16)]
    [InlineData(1, 576, 512, 130)]
    [InlineData(2, 192, 128, 2)]
    [InlineData(1, 193, 33, 2)]
    [InlineData(1, 80, 80, 3)]
    [InlineData(3, 256, 256, 24)]
    public void Large_heads_and_large_groups_equal_the_reference(int kvHeads, int keySize, int valueSize, int heads)
    {
        KvLayer layer = new(kvHeads, keySize, valueSize);
        using ReferenceBackend reference = new();
        AttentionOptions options = new(heads, 0.5f / MathF.Sqrt(keySize));
        foreach (string path in Cases.PathNames)
        {
            foreach ((int first, int tokens, int threads, bool exact) in new[] { (520, 1, 3, false), (70, 9, 2, false), (0, 5, 1, false), (70, 9, 2, true) })
            {
                using CpuBackend backend = new(new CpuOptions { Threads = threads, Path = path, Exact = exact });
                using KvCache cache = Filled(backend, layer, first + tokens, "F16");
                float[] queries = Values.Random(new Random(tokens), tokens * heads * keySize);
                Assert.InRange(Nmse.Of(Run(backend, cache, queries, first, tokens, options), Run(reference, cache, queries, first, tokens, options)), 0, AttentionTests.NmseBound("F16", exact));
            }
        }
    }

    private static KvCache Filled(CpuBackend backend, KvLayer layer, int positions, string format)
    {
        KvCache cache = backend.AllocateKv([layer], positions, BlockFormats.Find(format)!, positions);
        Random random = new(positions);
        Tensor keys = Values.Tensor(backend, positions, layer.Heads * layer.KeySize, 0, Values.Random(random, positions * layer.Heads * layer.KeySize));
        Tensor values = Values.Tensor(backend, positions, layer.Heads * layer.ValueSize, 0, Values.Random(random, positions * layer.Heads * layer.ValueSize));
        backend.StoreKv(keys, values, cache, 0, 0);
        return cache;
    }

    private static float[] Run(Backend backend, KvCache cache, float[] queries, int first, int tokens, AttentionOptions options)
    {
        Tensor q = Values.Tensor(backend, tokens, options.Heads * cache.Layers[0].KeySize, 3, queries);
        Tensor y = Values.Tensor(backend, tokens, options.Heads * cache.Layers[0].ValueSize, 2);
        backend.Attention(q, cache, 0, first, in options, y);
        return Values.Read(backend, y);
    }
}
