using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Cpu.Caching;

namespace Nibble.Cpu.Tests;

/// <summary>Attention against <see cref="ReferenceBackend"/>.</summary>
public class AttentionTests
{
    [Theory]
    [MemberData(nameof(Cases.Paths), MemberType = typeof(Cases))]
    public void Attention_equals_the_reference(string path)
    {
        using CpuBackend fast = new(new CpuOptions { Path = path, Threads = 2 }), sums = new(new CpuOptions { Path = path, Threads = 2, Exact = true });
        using ReferenceBackend reference = new();
        foreach ((CpuBackend backend, int heads, KvLayer layer, string format) in new[]
        {
            (fast, 9, new KvLayer(3, 64, 64), "F32"), (fast, 9, new KvLayer(3, 64, 64), "F16"), (fast, 8, new KvLayer(2, 32, 96), "Q8_0"), (fast, 4, new KvLayer(2, 64, 96), "Q4_0"),
            (fast, 4, new KvLayer(4, 40, 24), "F16"), (fast, 3, new KvLayer(1, 7, 5), "F32"), (fast, 40, new KvLayer(1, 16, 32), "F16"), (fast, 6, new KvLayer(2, 7, 5), "F16"),
            (sums, 9, new KvLayer(3, 64, 64), "F16"), (sums, 8, new KvLayer(2, 32, 96), "Q8_0"), (sums, 4, new KvLayer(2, 64, 96), "Q4_0"), (sums, 6, new KvLayer(2, 7, 5), "F16"),
        })
        {
            foreach ((int first, int tokens) in new[] { (0, 1), (0, 3), (5, 7), (63, 1), (60, 33), (64, 2), (150, 1), (130, 70) })
            {
                using KvCache cache = Filled(backend, layer, 200, format, first + tokens);
                float[] queries = Values.Random(new Random(tokens), tokens * heads * layer.KeySize);
                AttentionOptions options = new(heads, 0.5f / MathF.Sqrt(layer.KeySize));
                float[] ours = Run(backend, cache, queries, first, tokens, options), theirs = Run(reference, cache, queries, first, tokens, options);

                Close(ours, theirs, format, backend == sums);
            }
        }
    }

    [Theory]
    [InlineData("F16", 0x5EE058C0FDDE9937UL)]
    [InlineData("Q8_0", 0xC4C7CDD34553F529UL)]
    [InlineData("F32", 0xBC2988DB19019E36UL)]
    public void Attention_has_these_bits_on_every_processor(string format, ulong expected)
    {
        KvLayer layer = new(2, 96, 64);
        float[] queries = Values.Random(new Random(7), 20 * 6 * 96);
        foreach (string path in Cases.PathNames)
        {
            using CpuBackend backend = new(new CpuOptions { Path = path });
            using KvCache cache = Filled(backend, layer, 150, format, 150);
            float[] y = Run(backend, cache, queries, 130, 20, new AttentionOptions(6, 0.1f));
            Assert.Equal(expected, Xxh64.Hash(System.Runtime.InteropServices.MemoryMarshal.AsBytes(y.AsSpan())));
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

    [Theory]
    [InlineData("F32")]
    [InlineData("F16")]
    [InlineData("Q8_0")]
    public void Positions_behind_a_token_are_not_read_whatever_they_hold(string format)
    {
        KvLayer layer = new(1, 32, 32);
        using CpuBackend backend = new();
        float[] queries = Values.Random(new Random(7), 2 * 32);
        using KvCache clean = Filled(backend, layer, 100, format, 100), dirty = Filled(backend, layer, 100, format, 100);
        byte[] nan = new byte[BlockFormats.Find(format)!.RowBytes(32)];
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

    [Fact]
    public void Many_small_weights_of_one_size_count_in_full()
    {
        // Position 0 has 16 600 times the weight of each of the 63 others, which is half of what can be told apart; or its value is 1000, and the others' weights are 15.5 steps.
        const int Positions = 64, Size = 32;
        using CpuBackend backend = new();
        using ReferenceBackend reference = new();
        foreach ((float score, float first) in new[] { (9.718f, 1f), (0.03f, 1000f), (7.1f, 1f), (5.55f, 3f) })
        {
            using KvCache cache = backend.AllocateKv([new KvLayer(1, Size, Size)], Positions, BlockFormats.F16, Positions);
            float[] keys = new float[Positions * Size], values = new float[Positions * Size], query = new float[Size];
            (keys[0], query[0]) = (score, 1);
            values[0] = first;
            for (int p = 0; p < Positions; p++)
                for (int i = p == 0 && first > 1 ? Size : 1; i < Size; i++)
                    values[(p * Size) + i] = 1;
            backend.StoreKv(Values.Tensor(backend, Positions, Size, 0, keys), Values.Tensor(backend, Positions, Size, 0, values), cache, 0, 0);
            AttentionOptions options = new(1, 1);
            float[] ours = Run(backend, cache, query, Positions - 1, 1, options), theirs = Run(reference, cache, query, Positions - 1, 1, options);
            for (int i = 1; i < Size; i++)
                Assert.InRange(ours[i] / theirs[i], 0.998f, 1.002f);
            Assert.InRange(Nmse.Of(ours, theirs), 0, 1e-6);
        }
    }

    [Fact]
    public void A_channel_far_above_the_others_costs_scores_little()
    {
        // As with the biases of Qwen2's keys: 300 beside numbers below 3. An integer stands for 1/32 then, and scores of a standard deviation of about 4 are off by some 0.04.
        const int Positions = 300, Size = 128;
        using CpuBackend backend = new();
        using ReferenceBackend reference = new();
        Random random = new(9);
        float[] keys = Values.Random(random, Positions * Size), values = Values.Random(random, Positions * Size), query = Values.Random(random, Size);
        for (int p = 0; p < Positions; p++)
            keys[p * Size] += 300;
        foreach ((string format, double bound) in new[] { ("F16", 2e-3), ("Q8_0", 2e-3) })
        {
            using KvCache cache = backend.AllocateKv([new KvLayer(1, Size, Size)], Positions, BlockFormats.Find(format)!, Positions);
            backend.StoreKv(Values.Tensor(backend, Positions, Size, 0, keys), Values.Tensor(backend, Positions, Size, 0, values), cache, 0, 0);
            AttentionOptions options = new(1, 4 / MathF.Sqrt(Size));
            Assert.InRange(Nmse.Of(Run(backend, cache, query, Positions - 1, 1, options), Run(reference, cache, query, Positions - 1, 1, options)), 0, bound);
        }
    }

    [Theory]
    [InlineData("F16", 0x7C00)]
    [InlineData("F16", 0xFC00)]
    [InlineData("F16", 0x7E00)]
    [InlineData("Q8_0", 0x7C00)]
    [InlineData("Q4_0", 0x7E00)]
    public void What_is_no_number_is_told_by_rows_that_see_it_and_by_no_others(string format, int half)
    {
        // The half is a number of a key or value, or a block's scale, at position 71; tokens 70 to 72 are of one batch.
        KvLayer layer = new(1, 32, 32);
        float[] queries = Values.Random(new Random(7), 3 * 32);
        AttentionOptions options = new(1, 1);
        foreach (string path in Cases.PathNames)
        {
            using CpuBackend backend = new(new CpuOptions { Path = path });
            using KvCache clean = Filled(backend, layer, 100, format, 100);
            float[] expected = Run(backend, clean, queries, 70, 3, options);
            foreach (bool inValue in new[] { false, true })
            {
                using KvCache dirty = Filled(backend, layer, 100, format, 100);
                byte[] row = new byte[BlockFormats.Find(format)!.RowBytes(32)];
                BitConverter.TryWriteBytes(row, (ushort)half);
                dirty.WriteRow(1, inValue, 71, row);
                float[] ours = Run(backend, dirty, queries, 70, 3, options);
                Assert.True(Values.SameBits(expected.AsSpan(0, 32), ours.AsSpan(0, 32)), $"{path}, in value {inValue}");
                Assert.All(ours[32..], y => Assert.True(float.IsNaN(y), $"{path}, in value {inValue}: {y}"));
            }

            float[] query = queries[..32];
            query[5] = half == 0x7E00 ? float.NaN : half == 0x7C00 ? float.PositiveInfinity : float.NegativeInfinity;
            Assert.All(Run(backend, clean, query, 70, 1, options), y => Assert.True(float.IsNaN(y), $"{path}: {y}"));
        }
    }

    [Fact]
    public void Scores_that_overflow_downwards_weigh_nothing()
    {
        // Keys of 0, and from position 64 on those whose product with the query is minus infinity.
        const int Positions = 130;
        using CpuBackend backend = new();
        using ReferenceBackend reference = new();
        using KvCache cache = backend.AllocateKv([new KvLayer(1, 32, 32)], Positions, BlockFormats.F16, Positions);
        float[] keys = new float[Positions * 32], values = Values.Random(new Random(4), Positions * 32), query = new float[32];
        for (int p = 64; p < Positions; p++)
            keys[p * 32] = -65504;
        query[0] = 1e35f;
        backend.StoreKv(Values.Tensor(backend, Positions, 32, 0, keys), Values.Tensor(backend, Positions, 32, 0, values), cache, 0, 0);
        float[] ours = Run(backend, cache, query, Positions - 1, 1, new AttentionOptions(1, 1)), theirs = Run(reference, cache, query, Positions - 1, 1, new AttentionOptions(1, 1));
        Assert.InRange(Nmse.Of(ours, theirs), 0, 3e-7);
    }

    [Theory]
    [InlineData(1e-3f)]
    [InlineData(0f)]
    public void A_sink_does_not_hide_what_its_tile_holds_besides(float sinkValue)
    {
        // Position 0 has 10 000 times the weight of the others, and a small value or none: rounded weights are relative to what positions add to the result.
        const int Positions = 90, Size = 32;
        using CpuBackend backend = new();
        using ReferenceBackend reference = new();
        using KvCache cache = backend.AllocateKv([new KvLayer(1, Size, Size)], Positions, BlockFormats.F16, Positions);
        float[] keys = new float[Positions * Size], values = Values.Random(new Random(3), Positions * Size);
        for (int p = 0; p < Positions; p++)
            (keys[p * Size], keys[(p * Size) + 1]) = (p == 0 ? 9.21f : 0, p % 3 * 0.1f);
        for (int i = 0; i < Size; i++)
            values[i] *= sinkValue;
        backend.StoreKv(Values.Tensor(backend, Positions, Size, 0, keys), Values.Tensor(backend, Positions, Size, 0, values), cache, 0, 0);
        float[] query = new float[Size];
        (query[0], query[1]) = (1, 1);
        float[] ours = Run(backend, cache, query, Positions - 1, 1, new AttentionOptions(1, 1)), theirs = Run(reference, cache, query, Positions - 1, 1, new AttentionOptions(1, 1));
        Assert.InRange(Nmse.Of(ours, theirs), 0, 1e-6);
    }

    [Theory]
    [MemberData(nameof(Cases.Paths), MemberType = typeof(Cases))]
    public void Zeros_are_keys_values_and_queries_like_others(string path)
    {
        const int Positions = 70, Size = 32;
        using CpuBackend backend = new(new CpuOptions { Path = path });
        float[] zeros = new float[Positions * Size], values = new float[Positions * Size], ones = new float[Size];
        for (int i = 0; i < values.Length; i++)
            values[i] = i / Size % 2 == 0 ? 0 : 1 + (i % Size);
        Array.Fill(ones, 1);
        foreach ((float[] keys, float[] query) in new[] { (zeros, ones), (values, new float[Size]) })
        {
            // Equal weights: half of the values are 0.
            using KvCache cache = backend.AllocateKv([new KvLayer(1, Size, Size)], Positions, BlockFormats.F16, Positions);
            backend.StoreKv(Values.Tensor(backend, Positions, Size, 0, keys), Values.Tensor(backend, Positions, Size, 0, values), cache, 0, 0);
            float[] mean = Run(backend, cache, query, Positions - 1, 1, new AttentionOptions(1, 1));
            for (int i = 0; i < Size; i++)
                Assert.InRange(mean[i], (1 + i) * 0.49999f, (1 + i) * 0.50001f);
            backend.StoreKv(Values.Tensor(backend, Positions, Size, 0, keys), Values.Tensor(backend, Positions, Size, 0, zeros), cache, 0, 0);
            Assert.All(Run(backend, cache, query, Positions - 1, 1, new AttentionOptions(1, 1)), y => Assert.Equal(0, y));
        }
    }

    // All features at once, in combinations that models have and some that none has.
    public static TheoryData<int, int, bool, string> Windows => new()
    {
        { 0, 3, false, "sinks" }, { 0, 12, false, "alibi" }, { 0, 6, false, "cap" }, { 0, 6, false, "temperature" },
        { 1, 3, false, "" }, { 20, 6, false, "sinks" }, { 64, 6, false, "cap" }, { 65, 12, false, "alibi" }, { 100, 3, false, "temperature" },
        { 48, 6, true, "temperature" }, { 64, 3, true, "" }, { 100, 6, true, "sinks" }, { 7, 12, true, "sinks cap alibi temperature" }, { 33, 12, false, "sinks cap alibi temperature" },
    };

    [Theory]
    [MemberData(nameof(Windows))]
    public void Attention_with_windows_and_the_rest_equals_the_reference(int window, int heads, bool chunked, string features)
    {
        using ReferenceBackend reference = new();
        using TestWeights logits = new(BlockFormats.F32, 1, heads, 4);
        KvLayer layer = new(3, 16, 24, window, chunked);
        foreach (string path in Cases.PathNames)
        {
            using CpuBackend backend = new(new CpuOptions { Path = path, Threads = 2 });
            using Weight ourSinks = backend.Upload(logits), theirSinks = reference.Upload(logits);
            foreach ((int first, int tokens, string format) in new[]
            {
                (0, 1, "F32"), (0, 3, "F32"), (5, 7, "F32"), (63, 1, "F32"), (60, 33, "F32"), (64, 2, "F32"), (150, 1, "F32"), (130, 70, "F32"),
                (0, 1, "F16"), (5, 7, "F16"), (60, 33, "F16"), (150, 1, "F16"), (130, 70, "F16"),
            })
            {
                using KvCache cache = Filled(backend, layer, 200, format, first + tokens, 70);
                float[] queries = Values.Random(new Random(tokens), tokens * heads * layer.KeySize);
                float[] ours = Run(backend, cache, queries, first, tokens, Options(features, heads, ourSinks));
                float[] theirs = Run(reference, cache, queries, first, tokens, Options(features, heads, theirSinks));
                Close(ours, theirs, format, exact: false);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Windows))]
    public void Attention_with_windows_does_not_depend_on_batch_threads_or_rows(int window, int heads, bool chunked, string features)
    {
        // A cache for another batch has another number of rows, so that positions lie elsewhere.
        const int Tokens = 150;
        KvLayer layer = new(3, 16, 24, window, chunked);
        using TestWeights logits = new(BlockFormats.F32, 1, heads, 4);
        float[] queries = Values.Random(new Random(7), Tokens * heads * 16);
        float[]? expected = null;
        foreach (int threads in new[] { 1, 3 })
        {
            using CpuBackend backend = new(new CpuOptions { Threads = threads });
            using Weight sinks = backend.Upload(logits);
            foreach (int batch in threads == 1 ? new[] { Tokens, 1, 64 } : [Tokens, 7])
            {
                using KvCache cache = backend.AllocateKv([layer], Tokens, BlockFormats.F16, batch);
                (Tensor keys, Tensor values) = Random(backend, layer, Tokens);
                float[] y = new float[Tokens * heads * 24];
                for (int t = 0; t < Tokens; t += batch)
                {
                    int count = Math.Min(batch, Tokens - t);
                    backend.StoreKv(keys.SliceRows(t, count), values.SliceRows(t, count), cache, 0, t);
                    Run(backend, cache, queries[(t * heads * 16)..((t + count) * heads * 16)], t, count, Options(features, heads, sinks)).CopyTo(y, t * heads * 24);
                }

                expected ??= y;
                Assert.True(Values.SameBits(expected, y), $"{threads} threads, batch {batch}");
            }
        }
    }

    [Theory]
    [InlineData(false, "F32")]
    [InlineData(true, "F32")]
    [InlineData(false, "F16")]
    [InlineData(true, "F16")]
    public void Positions_before_a_window_are_not_read_whatever_they_hold(bool chunked, string format)
    {
        // Window 10: token 79 sees 70 and on, a token before it more. In chunks of 10, token 80 begins one.
        KvLayer layer = new(1, 32, 32, 10, chunked);
        int clear = chunked ? 80 : 79;
        using CpuBackend backend = new();
        float[] queries = Values.Random(new Random(7), 8 * 32);
        using KvCache clean = Filled(backend, layer, 100, format, 100), dirty = Filled(backend, layer, 100, format, 100);
        byte[] nan = new byte[BlockFormats.Find(format)!.RowBytes(32)];
        Array.Fill(nan, (byte)0xFF);
        for (int p = 0; p < (chunked ? 80 : 70); p++)
        {
            dirty.WriteRow(1, false, p, nan);
            dirty.WriteRow(1, true, p, nan);
        }

        AttentionOptions options = new(1, 1) { SoftCap = 3, AlibiBias = 8 };
        float[] expected = Run(backend, clean, queries, 75, 8, options), ours = Run(backend, dirty, queries, 75, 8, options);
        int split = (clear - 75) * 32;
        Assert.All(ours[..split], value => Assert.True(float.IsNaN(value)));
        Assert.Equal(expected[split..], ours[split..]);
    }

    [Fact]
    public void Sinks_far_above_or_below_the_scores_take_all_or_nothing()
    {
        using CpuBackend backend = new();
        KvLayer layer = new(1, 32, 32);
        using KvCache cache = Filled(backend, layer, 100, "F32", 100);
        using TestWeights source = new(BlockFormats.F32, 1, 2, 1);
        BitConverter.TryWriteBytes(source.Bytes, 500f);
        BitConverter.TryWriteBytes(source.Bytes[4..], float.NegativeInfinity);
        using Weight sinks = backend.Upload(source);
        float[] queries = Values.Random(new Random(7), 64);
        float[] with = Run(backend, cache, queries, 99, 1, new AttentionOptions(2, 0.1f) { Sinks = sinks }), without = Run(backend, cache, queries, 99, 1, new AttentionOptions(2, 0.1f));
        Assert.All(with[..32], value => Assert.Equal(0, value));
        Assert.Equal(without[32..], with[32..]);
    }

    // Without rounded factors a weight is off by the rounding of a score (up to 16 here, summed over the key) and of e^x; outputs are means of values below 3.
    // Rounded keys, values and queries are off by 2^-12 of their row's largest at most, which is below 4: a value by 2^-11, a score by some 2^-10 more.
    private static void Close(float[] ours, float[] theirs, string format, bool exact)
    {
        bool isRounded = !exact && format != "F32";
        float bound = isRounded ? 2e-3f : 2e-5f;
        for (int i = 0; i < ours.Length; i++)
            Assert.InRange(ours[i] - theirs[i], -bound, bound);
        Assert.InRange(Nmse.Of(ours, theirs), 0, NmseBound(format, exact));
    }

    /// <summary>What the squared errors of attention are below, relative to the results' squares.</summary>
    internal static double NmseBound(string format, bool exact) => !exact && format != "F32" ? 1e-6 : 1e-11;

    private static AttentionOptions Options(string features, int heads, Weight sinks) => new(heads, 0.125f)
    {
        Sinks = features.Contains("sinks", StringComparison.Ordinal) ? sinks : null,
        SoftCap = features.Contains("cap", StringComparison.Ordinal) ? 1.5f : 0,
        AlibiBias = features.Contains("alibi", StringComparison.Ordinal) ? 8 : 0,
        Temperature = features.Contains("temperature", StringComparison.Ordinal) ? new QueryTemperature(0.3f, 16, 1) : default,
    };

    private static KvCache Filled(CpuBackend backend, KvLayer layer, int capacity, string format, int positions, int batch = 0)
    {
        KvCache cache = backend.AllocateKv([new KvLayer(1, 32, 32), layer], capacity, BlockFormats.Find(format)!, batch == 0 ? capacity : batch);
        (Tensor keys, Tensor values) = Random(backend, layer, positions);
        for (int p = 0; p < positions; p += cache.Batch)
        {
            int count = Math.Min(cache.Batch, positions - p);
            backend.StoreKv(keys.SliceRows(p, count), values.SliceRows(p, count), cache, 1, p);
        }

        return cache;
    }

    private static (Tensor Keys, Tensor Values) Random(CpuBackend backend, KvLayer layer, int positions)
    {
        Random random = new(positions);
        Tensor keys = Values.Tensor(backend, positions, layer.Heads * layer.KeySize, 0, Values.Random(random, positions * layer.Heads * layer.KeySize));
        Tensor values = Values.Tensor(backend, positions, layer.Heads * layer.ValueSize, 0, Values.Random(random, positions * layer.Heads * layer.ValueSize));
        return (keys, values);
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
