using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Cpu.Tests;

/// <summary>Attention against <see cref="ReferenceBackend"/>.</summary>
public class AttentionTests
{
    [Theory]
    [MemberData(nameof(Cases.Paths), MemberType = typeof(Cases))]
    public void Attention_equals_the_reference(string path)
    {
        using CpuBackend backend = new(new CpuOptions { Path = path, Threads = 2 });
        using ReferenceBackend reference = new();
        foreach ((int heads, KvLayer layer, string format) in new[]
        {
            (9, new KvLayer(3, 64, 64), "F32"), (9, new KvLayer(3, 64, 64), "F16"), (8, new KvLayer(2, 32, 96), "Q8_0"),
            (4, new KvLayer(4, 40, 24), "F16"), (3, new KvLayer(1, 7, 5), "F32"), (40, new KvLayer(1, 16, 32), "F16"),
        })
        {
            foreach ((int first, int tokens) in new[] { (0, 1), (0, 3), (5, 7), (63, 1), (60, 33), (64, 2), (150, 1), (130, 70) })
            {
                using KvCache cache = Filled(backend, layer, 200, format, first + tokens);
                float[] queries = Values.Random(new Random(tokens), tokens * heads * layer.KeySize);
                AttentionOptions options = new(heads, 0.5f / MathF.Sqrt(layer.KeySize));
                float[] ours = Run(backend, cache, queries, first, tokens, options), theirs = Run(reference, cache, queries, first, tokens, options);

                // A weight is off by the rounding of a score (up to 16 here, summed over the key) and of e^x; outputs are means of values below 3.
                for (int i = 0; i < ours.Length; i++)
                    Assert.InRange(ours[i] - theirs[i], -2e-5f, 2e-5f);
                Assert.InRange(Nmse.Of(ours, theirs), 0, 1e-11);
            }
        }
    }

    [Fact]
    public void Attention_does_not_depend_on_batch_or_threads()
    {
        const int Tokens = 150;
        KvLayer layer = new(2, 64, 64);
        AttentionOptions options = new(6, 0.125f);
        float[] queries = Values.Random(new Random(7), Tokens * 6 * 64);
        float[]? first = null;
        foreach (int threads in new[] { 1, 2, 3, 5 })
        {
            using CpuBackend backend = new(new CpuOptions { Threads = threads });
            using KvCache cache = Filled(backend, layer, Tokens, "F16", Tokens);
            foreach (int batch in new[] { Tokens, 1, 7, 64 })
            {
                float[] y = new float[Tokens * 6 * 64];
                for (int t = 0; t < Tokens; t += batch)
                {
                    int count = Math.Min(batch, Tokens - t);
                    Run(backend, cache, queries[(t * 384)..((t + count) * 384)], t, count, options).CopyTo(y, t * 384);
                }

                first ??= y;
                Assert.True(Values.SameBits(first, y), $"{threads} threads, batch {batch}");
            }
        }
    }

    [Fact]
    public void Positions_behind_a_token_are_not_read_whatever_they_hold()
    {
        KvLayer layer = new(1, 32, 32);
        using CpuBackend backend = new();
        float[] queries = Values.Random(new Random(7), 2 * 32);
        using KvCache clean = Filled(backend, layer, 100, "F32", 100), dirty = Filled(backend, layer, 100, "F32", 100);
        byte[] nan = new byte[128];
        Array.Fill(nan, (byte)0xFF);
        for (int p = 71; p < 100; p++)
        {
            dirty.WriteRow(1, false, p, nan);
            dirty.WriteRow(1, true, p, nan);
        }

        // Token 71 sees its own NaN, token 70 in the same batch must not.
        AttentionOptions options = new(1, 1);
        Assert.Equal(Run(backend, clean, queries[..32], 70, 1, options), Run(backend, dirty, queries[..32], 70, 1, options));
        float[] both = Run(backend, dirty, queries, 70, 2, options);
        Assert.Equal(Run(backend, clean, queries[..32], 70, 1, options), both[..32]);
        Assert.All(both[32..], value => Assert.True(float.IsNaN(value)));
    }

    [Fact]
    public void Scores_far_apart_neither_overflow_nor_lose_the_best()
    {
        using CpuBackend backend = new();
        using KvCache cache = backend.AllocateKv([new KvLayer(1, 1, 1)], 200, BlockFormats.F32, 200);
        float[] keys = new float[200], values = new float[200];
        for (int i = 0; i < 200; i++)
            (keys[i], values[i]) = (i * 50 - 3000, i);
        backend.StoreKv(Values.Tensor(backend, 200, 1, 0, keys), Values.Tensor(backend, 200, 1, 0, values), cache, 0, 0);
        Assert.Equal(199f, Run(backend, cache, [1], 199, 1, new AttentionOptions(1, 1))[0]);
        Assert.InRange(Run(backend, cache, [1], 199, 1, new AttentionOptions(1, -1))[0], 0, 2e-22f); // e^-50 of value 1
    }

    private static KvCache Filled(CpuBackend backend, KvLayer layer, int capacity, string format, int positions)
    {
        KvCache cache = backend.AllocateKv([new KvLayer(1, 32, 32), layer], capacity, BlockFormats.Find(format)!, capacity);
        Random random = new(positions);
        Tensor keys = Values.Tensor(backend, positions, layer.Heads * layer.KeySize, 0, Values.Random(random, positions * layer.Heads * layer.KeySize));
        Tensor values = Values.Tensor(backend, positions, layer.Heads * layer.ValueSize, 0, Values.Random(random, positions * layer.Heads * layer.ValueSize));
        backend.StoreKv(keys, values, cache, 1, 0);
        return cache;
    }

    private static float[] Run(Backend backend, KvCache cache, float[] queries, int first, int tokens, AttentionOptions options)
    {
        int layer = cache.Layers.Length - 1;
        Tensor q = Values.Tensor(backend, tokens, options.Heads * cache.Layers[layer].KeySize, 3, queries);
        Tensor y = Values.Tensor(backend, tokens, options.Heads * cache.Layers[layer].ValueSize, 2);
        backend.Attention(q, cache, layer, first, in options, y);
        return Values.Read(backend, y);
    }
}
