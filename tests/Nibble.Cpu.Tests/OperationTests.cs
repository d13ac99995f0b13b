using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Cpu.Tests;

/// <summary>Every operation that is no product, against <see cref="ReferenceBackend"/>, on every path that runs here, with strided tensors.</summary>
public class OperationTests
{
    private static readonly (int Rows, int Columns)[] s_shapes = [(1, 1), (2, 3), (3, 16), (1, 31), (7, 64), (5, 577), (33, 48), (2, 5000), (70, 2048)];

    [Theory]
    [MemberData(nameof(Cases.Formats), MemberType = typeof(Cases))]
    public void GetRows_gives_the_decoder_s_bits(string formatName)
    {
        BlockFormat format = BlockFormats.Find(formatName)!;
        foreach (int columns in new[] { format.BlockValues, 3 * format.BlockValues, Math.Max(format.BlockValues, 2048) })
        {
            using CpuBackend backend = new(new CpuOptions { Threads = 3 });
            using TestWeights source = new(format, 40, columns, seed: columns);
            using Weight table = backend.Upload(source), half = backend.Upload(source, [0.5f]);
            int[] ids = [.. Enumerable.Range(0, 90).Select(i => i * 7 % 40)];
            Tensor y = Values.Tensor(backend, ids.Length, columns, 3);
            backend.GetRows(table, ids, y);
            float[] values = Values.Read(backend, y);
            backend.GetRows(half, ids, y);
            float[] halves = Values.Read(backend, y);
            for (int i = 0; i < ids.Length; i++)
            {
                float[] row = source.Decode(ids[i]);
                Assert.True(Values.SameBits(row, values.AsSpan(i * columns, columns)), $"{format} row {ids[i]}");
                Assert.Equal(row.Select(v => v * 0.5f), halves[(i * columns)..((i + 1) * columns)]);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Cases.Paths), MemberType = typeof(Cases))]
    public void Norms_equal_the_reference(string path)
    {
        foreach (NormKind kind in Enum.GetValues<NormKind>())
        {
            Compare(path, 6e-7, (backend, x, _, rows, columns) =>
            {
                using TestWeights gains = new(BlockFormats.F32, 1, columns, 8), biases = new(BlockFormats.F16, 1, columns, 9);
                using Weight gain = backend.Upload(gains, [1.5f]), bias = backend.Upload(biases);
                NormOptions options = new(kind, 1e-5f);
                Tensor input = Values.Tensor(backend, rows, columns, 2, [.. x.Select(v => v + 1)]), y = Values.Tensor(backend, rows, columns, 1), bare = Values.Tensor(backend, rows, columns);
                backend.Norm(input, options, gain, bias, y);
                backend.Norm(input, options, null, null, bare);
                backend.Norm(input, options, gain, bias, input);
                Assert.Equal(Values.Read(backend, y), Values.Read(backend, input));
                return [.. Values.Read(backend, y), .. Values.Read(backend, bare)];
            });
        }
    }

    [Theory]
    [MemberData(nameof(Cases.Paths), MemberType = typeof(Cases))]
    public void Norms_of_groups_equal_the_reference_and_norms_of_rows(string path)
    {
        using ReferenceBackend reference = new();
        using CpuBackend backend = new(new CpuOptions { Path = path, Threads = 3 });
        foreach ((int rows, int groups, int size) in new[] { (1, 3, 5), (9, 9, 64), (2, 7, 31), (50, 8, 128), (3, 1, 577), (4, 5, 1) })
        {
            int columns = groups * size;
            float[] x = Values.Random(new Random(size), rows * columns);
            using TestWeights one = new(BlockFormats.F32, 1, size, 1), each = new(BlockFormats.F32, groups, size, 2), half = new(BlockFormats.F16, groups, size, 3), flat = new(BlockFormats.F32, 1, columns, 4);
            foreach (NormKind kind in Enum.GetValues<NormKind>())
            {
                NormOptions options = new(kind, 1e-3f, size);
                foreach ((TestWeights? gain, TestWeights? bias, float scale) in new[] { (null, null, 1f), (one, each, 1), (each, one, 1), (each, flat, 0.5f), (half, half, 1), (flat, null, 3) })
                {
                    float[] ours = Run(backend, rows, columns, x), theirs = Run(reference, rows, columns, x);
                    for (int i = 0; i < ours.Length; i++)
                        Assert.InRange(ours[i] - theirs[i], -3e-5f, 3e-5f);

                    // The groups as rows of their own: the same bits.
                    if (gain is null) Assert.True(Values.SameBits(ours, Run(backend, rows * groups, size, x)));

                    float[] Run(Backend by, int height, int width, float[] values)
                    {
                        using Weight? g = gain is null ? null : by.Upload(gain, [scale]), b = bias is null ? null : by.Upload(bias);
                        Tensor input = Values.Tensor(by, height, width, 3, values), y = Values.Tensor(by, height, width, 1);
                        by.Norm(input, options, g, b, y);
                        by.Norm(input, options, g, b, input);
                        float[] result = Values.Read(by, y);
                        Assert.True(Values.SameBits(result, Values.Read(by, input)));
                        return result;
                    }
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Cases.Paths), MemberType = typeof(Cases))]
    public void Activations_equal_the_formulas(string path)
    {
        using CpuBackend backend = new(new CpuOptions { Path = path, Threads = 2 });
        foreach ((int rows, int columns) in s_shapes[..^1])
        {
            float[] gate = Values.Random(new Random(1), rows * columns), up = Values.Random(new Random(2), rows * columns);
            for (int i = 0; i < gate.Length; i += 3)
                (gate[i], up[i]) = (gate[i] * 40, up[i] * 5);
            Tensor g = Values.Tensor(backend, rows, columns, 1, gate), u = Values.Tensor(backend, rows, columns, 0, up), y = Values.Tensor(backend, rows, columns, 4);
            foreach (Activation activation in Enum.GetValues<Activation>())
            {
                backend.GatedActivation(activation, g, u, y);
                float[] ours = Values.Read(backend, y);
                for (int i = 0; i < ours.Length; i++)
                    Check(activation, gate[i], up[i], ours[i]);
                Tensor copy = Values.Tensor(backend, rows, columns, 2, gate);
                backend.GatedActivation(activation, copy, u, copy);
                Assert.True(Values.SameBits(ours, Values.Read(backend, copy)));
                if (activation == Activation.SwigluOai) continue;
                backend.Activate(activation, g, y);
                ours = Values.Read(backend, y);
                for (int i = 0; i < ours.Length; i++)
                    Check(activation, gate[i], 1, ours[i]);
                backend.Write(gate, copy);
                backend.Activate(activation, copy, copy);
                Assert.True(Values.SameBits(ours, Values.Read(backend, copy)));
            }
        }

        // e^x is within 1.5e-7 and its argument, up to 89 in size, within 2 roundings; beyond, e^x is infinite and the result 0 instead of below 1e-36.
        static void Check(Activation activation, float gate, float up, float ours)
        {
            double expected = Exact(activation, gate, up), bound = Math.Abs(expected) * (Math.Abs(gate) < 1 ? 8e-7 : 3e-5);
            bound += 1e-36 * Math.Max(1, Math.Abs(up));
            if (activation == Activation.Gelu)
            {
                Assert.Equal(HalfGelu.Of(gate) * up, ours);
                // Rounded to a half twice: 2^-11 each of the value, which x changes by up to 1 + x^2 times as much, and half of the smallest half; 1 + tanh is within 2^-23.
                if (gate < 10) bound = ((2 + (gate * gate)) * Math.Abs(expected) / 2048) + (Math.Abs(up) / (1 << 24)) + (Math.Abs(gate * up) / (1 << 23));
            }

            Assert.InRange(ours - expected, -bound, bound);
        }

        static double Exact(Activation activation, double x, double up) => activation switch
        {
            Activation.Identity => x * up,
            Activation.Silu => x / (1 + Math.Exp(-x)) * up,
            Activation.Gelu => x / (1 + Math.Exp(-2 * Math.Sqrt(2 / Math.PI) * (x + (0.044715 * x * x * x)))) * up,
            Activation.Relu => Math.Max(x, 0) * up,
            Activation.ReluSquared => Math.Pow(Math.Max(x, 0), 2) * up,
            Activation.Sigmoid => up / (1 + Math.Exp(-x)),
            Activation.Softplus => (Math.Max(x, 0) + LogOnePlus(Math.Exp(-Math.Abs(x)))) * up,
            _ => Math.Min(x, 7) / (1 + Math.Exp(-1.702 * Math.Min(x, 7))) * (Math.Clamp(up, -7, 7) + 1),
        };

        static double LogOnePlus(double t) => t < 1e-4 ? t - (t * t / 2) + (t * t * t / 3) : Math.Log(1 + t);
    }

    [Theory]
    [MemberData(nameof(Cases.Paths), MemberType = typeof(Cases))]
    public void Limits_and_copies_equal_the_reference_and_NaN_stays_NaN(string path)
    {
        Compare(path, 0, (backend, a, _, rows, columns) =>
        {
            Tensor x = Values.Tensor(backend, rows, columns, 2, a), y = Values.Tensor(backend, rows, columns, 1);
            backend.Clamp(x, 0.75f, y);
            float[] clamped = Values.Read(backend, y);
            backend.Copy(x, y);
            return [.. clamped, .. Values.Read(backend, y)];
        });
        foreach (float cap in new[] { 0.25f, 30, 50 })
        {
            Compare(path, 1e-6, (backend, a, _, rows, columns) =>
            {
                Tensor x = Values.Tensor(backend, rows, columns, 2, [.. a.Select((v, i) => i % 3 == 0 ? v * 100 : v)]);
                backend.SoftCap(x, cap, x);
                return Values.Read(backend, x);
            });
        }

        using CpuBackend only = new(new CpuOptions { Path = path });
        float[] special = [float.NaN, float.PositiveInfinity, float.NegativeInfinity, 1e-30f];
        Tensor s = Values.Tensor(only, 5, 4, 0, [.. special, .. special, .. special, .. special, .. special]);
        only.SoftCap(s, 2, s);
        Assert.Equal([float.NaN, 2, -2, 1e-30f], Values.Read(only, s)[..4]);
        Assert.Equal([float.NaN, 2, -2, 1e-30f], Values.Read(only, s)[16..]);
        only.Write([.. special, .. special, .. special, .. special, .. special], s);
        only.Clamp(s, 1, s);
        Assert.Equal([float.NaN, 1, -1, 1e-30f], Values.Read(only, s)[..4]);
        Assert.Equal([float.NaN, 1, -1, 1e-30f], Values.Read(only, s)[16..]);
    }

    [Theory]
    [MemberData(nameof(Cases.Paths), MemberType = typeof(Cases))]
    public void Biases_of_experts_equal_the_reference_bit_for_bit(string path)
    {
        foreach (BlockFormat format in new[] { BlockFormats.F32, BlockFormats.F16 })
        {
            Compare(path, 0, (backend, a, b, rows, columns) =>
            {
                // Two experts a token.
                using TestWeights source = new(format, 5, columns, 8);
                using Weight plain = backend.Upload(source), scaled = backend.Upload(source, [0.3f]);
                Tensor x = Values.Tensor(backend, rows * 2, columns, 2, [.. a, .. b]), ids = Values.Tensor(backend, rows, 2, 1, type: ElementType.Int32);
                backend.Write([.. Enumerable.Range(0, rows * 2).Select(i => i * 3 % 5)], ids);
                backend.AddExpertBias(x, plain, ids);
                backend.AddExpertBias(x, scaled, ids);
                return Values.Read(backend, x);
            });
        }

        using CpuBackend only = new(new CpuOptions { Path = path });
        using TestWeights three = new(BlockFormats.F32, 3, 4, 1);
        using Weight biases = only.Upload(three);
        Tensor one = Values.Tensor(only, 1, 1, type: ElementType.Int32);
        foreach (int expert in new[] { 3, -1 })
        {
            only.Write([expert], one);
            ArgumentOutOfRangeException error = Assert.Throws<ArgumentOutOfRangeException>(() => only.AddExpertBias(Values.Tensor(only, 1, 4), biases, one));
            Assert.Contains($"expert {expert}", error.Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [MemberData(nameof(Cases.Paths), MemberType = typeof(Cases))]
    public void Convolutions_equal_the_reference_whatever_the_batch(string path)
    {
        using ReferenceBackend reference = new();
        foreach ((int tokens, int channels, int taps, Activation activation) in new[]
        {
            (1, 1, 4, Activation.Silu), (9, 3, 1, Activation.Identity), (5, 31, 2, Activation.Silu), (40, 577, 4, Activation.Silu), (7, 300, 3, Activation.Relu), (3, 64, 9, Activation.Identity),
        })
        {
            float[] x = Values.Random(new Random(taps), tokens * channels), before = Values.Random(new Random(tokens), (taps - 1) * channels);
            (float[] Y, float[] State) theirs = Run(reference, tokens);
            float[]? first = null;
            foreach (int threads in new[] { 1, 3 })
            {
                using CpuBackend backend = new(new CpuOptions { Path = path, Threads = threads });
                foreach (int batch in new[] { tokens, 1, 3 })
                {
                    (float[] y, float[] state) = Run(backend, batch);
                    first ??= y;
                    Assert.True(Values.SameBits(first, y), $"{threads} threads, batch {batch}");
                    Assert.True(Values.SameBits(theirs.State, state));
                    for (int i = 0; i < y.Length; i++)
                        Assert.InRange(y[i] - theirs.Y[i], -1e-5f, 1e-5f);
                }
            }

            (float[] Y, float[] State) Run(Backend by, int batch)
            {
                using TestWeights kernels = new(BlockFormats.F32, channels, taps, 1), biases = new(BlockFormats.F32, 1, channels, 2);
                using Weight kernel = by.Upload(kernels, [0.5f]), bias = by.Upload(biases);
                Tensor input = Values.Tensor(by, tokens, channels, 2, x), y = Values.Tensor(by, tokens, channels, 1), state = Values.Tensor(by, taps - 1, channels, 3, before);
                for (int t = 0; t < tokens; t += batch)
                {
                    int count = Math.Min(batch, tokens - t);
                    by.Convolve(input.SliceRows(t, count), kernel, channels == 64 ? null : bias, activation, state, y.SliceRows(t, count));
                }

                return (Values.Read(by, y), Values.Read(by, state));
            }
        }
    }

    [Theory]
    [MemberData(nameof(Cases.Paths), MemberType = typeof(Cases))]
    public void Sums_and_scaled_values_equal_the_reference_bit_for_bit(string path)
    {
        Compare(path, 0, (backend, a, b, rows, columns) =>
        {
            using TestWeights bias = new(BlockFormats.F16, 1, columns, 8);
            using Weight weight = backend.Upload(bias, [0.5f]);
            Tensor left = Values.Tensor(backend, rows, columns, 2, a), right = Values.Tensor(backend, rows, columns, 0, b), y = Values.Tensor(backend, rows, columns, 1);
            backend.Add(left, right, y);
            float[] sum = Values.Read(backend, y);
            backend.Scale(left, -1.75f, y);
            float[] scaled = Values.Read(backend, y);
            backend.AddBias(right, weight);
            return [.. sum, .. scaled, .. Values.Read(backend, right)];
        });
    }

    [Theory]
    [MemberData(nameof(Cases.Paths), MemberType = typeof(Cases))]
    public void Combine_equals_the_reference(string path)
    {
        Compare(path, 1e-6, (backend, x, b, rows, columns) =>
        {
            // Three terms a token: the x of three times as many rows.
            float[] tall = [.. x, .. b, .. x.Reverse()];
            Tensor input = Values.Tensor(backend, rows * 3, columns, 2, tall), y = Values.Tensor(backend, rows, columns, 1);
            Tensor weights = Values.Tensor(backend, rows, 3, 1, Values.Random(new Random(rows), rows * 3));
            backend.Combine(input, weights, y);
            return Values.Read(backend, y);
        });
    }

    [Theory]
    [InlineData(RopePairing.Halves, 64, 32, 0)]
    [InlineData(RopePairing.Halves, 80, 37, 0)]
    [InlineData(RopePairing.Halves, 80, 9, 62)]
    [InlineData(RopePairing.Adjacent, 64, 32, 0)]
    [InlineData(RopePairing.Adjacent, 6, 3, 0)]
    [InlineData(RopePairing.Adjacent, 128, 20, 0)]
    [InlineData(RopePairing.Adjacent, 192, 32, 128)]
    public void Rope_equals_the_reference_bit_for_bit(RopePairing pairing, int headSize, int pairs, int offset)
    {
        using CpuBackend backend = new(new CpuOptions { Threads = 2 });
        using ReferenceBackend reference = new();
        double[] frequencies = [.. Enumerable.Range(0, pairs).Select(i => Math.Pow(10000, -i / (double)pairs))];
        RopeTable rope = new(pairing, frequencies, 1.1f, offset), other = new(pairing, frequencies, 0.5f, offset);

        // The last three calls reuse, grow and replace the kept rotations.
        foreach ((int rows, int position, RopeTable table) in new[] { (1, 0, rope), (40, 5, rope), (3, 5, rope), (41, 5, rope), (41, 5, other), (41, 6, other) })
        {
            float[] x = Values.Random(new Random(rows), rows * headSize * 5);
            Tensor a = Values.Tensor(backend, rows, headSize * 5, 3, x), b = Values.Tensor(reference, rows, headSize * 5, 0, x);
            backend.Rope(a, headSize, position, table);
            reference.Rope(b, headSize, position, table);
            Assert.True(Values.SameBits(Values.Read(backend, a), Values.Read(reference, b)), $"{rows} rows from {position}");
        }
    }

    [Theory]
    [InlineData("F32")]
    [InlineData("F16")]
    [InlineData("Q8_0")]
    public void StoreKv_encodes_as_the_format_does(string formatName)
    {
        BlockFormat format = BlockFormats.Find(formatName)!;
        using CpuBackend backend = new(new CpuOptions { Threads = 3 });
        using KvCache cache = backend.AllocateKv([new KvLayer(1, 32, 32), new KvLayer(3, 64, 96)], 80, format, 80);
        float[] k = Values.Random(new Random(1), 70 * 192), v = Values.Random(new Random(2), 70 * 288);
        Special(k);
        Special(v);
        backend.StoreKv(Values.Tensor(backend, 70, 192, 5, k), Values.Tensor(backend, 70, 288, 0, v), cache, 1, 7);
        for (int t = 0; t < 70; t++)
        {
            Check(k.AsSpan(t * 192, 192), false, t + 7);
            Check(v.AsSpan(t * 288, 288), true, t + 7);
        }

        void Check(ReadOnlySpan<float> values, bool isValue, int position)
        {
            byte[] expected = new byte[cache.RowBytes(1, isValue)], ours = new byte[expected.Length];
            format.Encode(values, expected);
            cache.ReadRow(1, isValue, position, ours);
            Assert.Equal(expected, ours);
        }

        // Zeros, subnormals, ties of the rounding, and values that are not finite.
        static void Special(float[] values)
        {
            values.AsSpan(0, 32).Clear();
            values.AsSpan(32, 32).Fill(1e-42f);
            for (int i = 64; i < 96; i++) values[i] = i == 64 ? 127 : i - 80.5f;
            values.AsSpan(96, 32).Fill(1e-37f);
            values[200] = float.NaN;
            values[300] = float.PositiveInfinity;
            values[400] = float.MaxValue;
        }
    }

    [Fact]
    public void StoreKv_takes_the_rows_of_a_window_in_turn()
    {
        using CpuBackend backend = new(new CpuOptions { Threads = 3 });
        using KvCache cache = backend.AllocateKv([new KvLayer(1, 2, 3, Window: 6)], 40, BlockFormats.F32, 4);
        Assert.Equal(9, cache.Rows(0));
        float[] k = Values.Random(new Random(1), 40 * 2), v = Values.Random(new Random(2), 40 * 3);
        Tensor keys = Values.Tensor(backend, 40, 2, 1, k), values = Values.Tensor(backend, 40, 3, 0, v);
        for (int first = 0; first < 40; first += 4)
        {
            backend.StoreKv(keys.SliceRows(first, 4), values.SliceRows(first, 4), cache, 0, first);
            for (int p = Math.Max(0, first - 5); p < first + 4; p++)
            {
                byte[] key = new byte[8], value = new byte[12];
                cache.ReadRow(0, false, p, key);
                cache.ReadRow(0, true, p, value);
                Assert.Equal(k.Skip(p * 2).Take(2), [BitConverter.ToSingle(key, 0), BitConverter.ToSingle(key, 4)]);
                Assert.Equal(v[(p * 3) + 2], BitConverter.ToSingle(value, 8));
            }
        }
    }

    [Fact]
    public void Route_equals_the_reference_and_hand_computed_values()
    {
        using CpuBackend backend = new();
        using ReferenceBackend reference = new();
        foreach ((int experts, Routing routing, bool biased) in new[]
        {
            (8, new Routing(2, true, 2.5f), false), (8, new Routing(2, false, 2.5f), true), (5, new Routing(5, true, 2.5f), false), (64, new Routing(6, true, 2.5f), false),
            (128, new Routing(8, true, 2.5f, GatingFunction.Sigmoid), true), (32, new Routing(4, false, 1, GatingFunction.SoftmaxOfChosen), false),
            (256, new Routing(8, true, 2.5f, GatingFunction.Sigmoid) { Groups = 8, GroupsUsed = 4 }, true), (64, new Routing(6, false, 16) { Groups = 8, GroupsUsed = 3 }, false),
            (16, new Routing(2, true, 1, GatingFunction.SqrtSoftplus), true),
        })
        {
            int used = routing.Used;
            float[] logits = Values.Random(new Random(experts), 9 * experts);
            using TestWeights biases = new(BlockFormats.F32, 1, experts, 3);
            logits.AsSpan(0, experts).Fill(1);
            (int[] Ids, float[] Weights) ours = Run(backend), theirs = Run(reference);
            Assert.Equal(theirs.Ids, ours.Ids);
            Assert.Equal(theirs.Weights, ours.Weights);
            if (!biased) Assert.Equal(Enumerable.Range(0, used), ours.Ids[..used]);

            (int[] Ids, float[] Weights) Run(Backend by)
            {
                Tensor ids = Values.Tensor(by, 9, used, 1, type: ElementType.Int32), weights = Values.Tensor(by, 9, used, 2);
                using Weight? bias = biased ? by.Upload(biases) : null;
                by.Route(Values.Tensor(by, 9, experts, 3, logits), in routing, bias, ids, weights);
                return ([.. Enumerable.Range(0, 9).SelectMany(t => HostTensorBuffer.IntRow(ids, t).ToArray())], Values.Read(by, weights));
            }
        }

        // 2 of 8: e^0.5 and e^0.25 over their sum.
        Tensor best = Values.Tensor(backend, 1, 2, type: ElementType.Int32), shares = Values.Tensor(backend, 1, 2);
        backend.Route(Values.Tensor(backend, 1, 8, 0, [-1, 0.5f, 0, -2, -3, 0.25f, 0, 0.1f]), new Routing(2, true, 1), null, best, shares);
        Assert.Equal([1, 5], HostTensorBuffer.IntRow(best, 0).ToArray());
        Assert.Equal(Math.Exp(0.5) / (Math.Exp(0.5) + Math.Exp(0.25)), Values.Read(backend, shares)[0], 1e-6);
        Assert.Equal(Math.Exp(0.25) / (Math.Exp(0.5) + Math.Exp(0.25)), Values.Read(backend, shares)[1], 1e-6);
    }

    [Fact]
    public void Every_operation_refuses_wrong_shapes()
    {
        using CpuBackend backend = new();
        using TestWeights source = new(BlockFormats.Q8_0, 4, 32, 1), vector = new(BlockFormats.F32, 1, 8, 1);
        using Weight weight = backend.Upload(source), gain = backend.Upload(vector);
        using KvCache cache = backend.AllocateKv([new KvLayer(2, 32, 32)], 4, BlockFormats.F16, 4);
        Tensor a = backend.Allocate(ElementType.Float32, 2, 7), b = backend.Allocate(ElementType.Float32, 2, 8), ids = backend.Allocate(ElementType.Int32, 2, 1);
        Assert.ThrowsAny<ArgumentException>(() => backend.GetRows(weight, [4], backend.Allocate(ElementType.Float32, 1, 32)));
        Assert.ThrowsAny<ArgumentException>(() => backend.MatMul(a, weight, b));
        Assert.ThrowsAny<ArgumentException>(() => backend.MatMul(a, [weight], [b]));
        Assert.ThrowsAny<ArgumentException>(() => backend.MatMul(a, [weight], []));
        Assert.ThrowsAny<ArgumentException>(() => backend.MatMulExperts(a, weight, ids, b));
        Assert.ThrowsAny<ArgumentException>(() => backend.Norm(a, new NormOptions(NormKind.Rms, 0), gain, null, a));
        Assert.ThrowsAny<ArgumentException>(() => backend.Rope(a, 2, 0, new RopeTable(RopePairing.Halves, [1], 1)));
        Assert.ThrowsAny<ArgumentException>(() => backend.StoreKv(a, b, cache, 0, 0));
        Assert.ThrowsAny<ArgumentException>(() => backend.Attention(a, cache, 0, 0, new AttentionOptions(2, 1), b));
        Assert.ThrowsAny<ArgumentException>(() => backend.GatedActivation(Activation.Silu, a, b, b));
        Assert.ThrowsAny<ArgumentException>(() => backend.GatedActivation((Activation)99, a, a, a));
        Assert.ThrowsAny<ArgumentException>(() => backend.Add(a, b, b));
        Assert.ThrowsAny<ArgumentException>(() => backend.AddBias(a, gain));
        Assert.ThrowsAny<ArgumentException>(() => backend.Scale(a, 1, b));
        Assert.ThrowsAny<ArgumentException>(() => backend.Route(a, new Routing(9, true, 1), null, ids, a));
        Assert.ThrowsAny<ArgumentException>(() => backend.Combine(a, b, b));
        Assert.ThrowsAny<ArgumentException>(() => backend.Activate(Activation.SwigluOai, a, a));
        Assert.ThrowsAny<ArgumentException>(() => backend.Activate((Activation)99, a, a));
        Assert.ThrowsAny<ArgumentException>(() => backend.Clamp(a, 1, b));
        Assert.ThrowsAny<ArgumentException>(() => backend.Clamp(a, 0, a));
        Assert.ThrowsAny<ArgumentException>(() => backend.SoftCap(a, -1, a));
        Assert.ThrowsAny<ArgumentException>(() => backend.Copy(a, b));
        Assert.ThrowsAny<ArgumentException>(() => backend.AddExpertBias(a, weight, ids));
        Assert.ThrowsAny<ArgumentException>(() => backend.Convolve(a, weight, null, Activation.Silu, a, a));
        Assert.ThrowsAny<ArgumentException>(() => backend.Write([1f], a));
        Assert.ThrowsAny<ArgumentException>(() => backend.Write([1], ids));
        Assert.ThrowsAny<ArgumentException>(() => backend.Read(a, new float[3]));
        using ReferenceBackend reference = new();
        using Weight foreign = reference.Upload(source);
        Assert.ThrowsAny<ArgumentException>(() => backend.MatMul(backend.Allocate(ElementType.Float32, 1, 32), foreign, backend.Allocate(ElementType.Float32, 1, 4)));

        // The backend is free again after each of them.
        backend.Scale(a, 1, a);
    }

    [Fact]
    public void Operations_on_no_rows_do_nothing()
    {
        using CpuBackend backend = new(new CpuOptions { Threads = 2 });
        using TestWeights source = new(BlockFormats.Q4_0, 4, 32, 1);
        using Weight weight = backend.Upload(source);
        using KvCache cache = backend.AllocateKv([new KvLayer(1, 32, 32)], 4, BlockFormats.F16, 4);
        Tensor x = backend.Allocate(ElementType.Float32, 0, 32), y = backend.Allocate(ElementType.Float32, 0, 4);
        backend.MatMul(x, weight, y);
        backend.Add(x, x, x);
        backend.Norm(x, new NormOptions(NormKind.Rms, 1), null, null, x);
        backend.Activate(Activation.Silu, x, x);
        backend.SoftCap(x, 1, x);
        backend.Copy(x, x);
        backend.AddExpertBias(x, weight, backend.Allocate(ElementType.Int32, 0, 2));
        backend.Convolve(y, weight, null, Activation.Silu, backend.Allocate(ElementType.Float32, 31, 4), y);
        backend.Route(x, new Routing(2, true, 1), null, backend.Allocate(ElementType.Int32, 0, 2), backend.Allocate(ElementType.Float32, 0, 2));
        backend.GetRows(weight, [], x);
        backend.StoreKv(x, x, cache, 0, 0);
        backend.Attention(x, cache, 0, 0, new AttentionOptions(1, 1), x);
        backend.Rope(x, 32, 0, new RopeTable(RopePairing.Halves, [1], 1));
        backend.Read(x, Span<float>.Empty);
    }

    // Runs an operation on both backends; the results may differ by a part of the larger value, 0 for equal bits.
    private static void Compare(string path, double tolerance, Func<Backend, float[], float[], int, int, float[]> run)
    {
        using ReferenceBackend reference = new();
        foreach (int threads in new[] { 1, 3 })
        {
            using CpuBackend backend = new(new CpuOptions { Path = path, Threads = threads });
            foreach ((int rows, int columns) in s_shapes)
            {
                float[] a = Values.Random(new Random(rows), rows * columns), b = Values.Random(new Random(columns), rows * columns);
                float[] ours = run(backend, a, b, rows, columns), theirs = run(reference, a, b, rows, columns);
                if (tolerance == 0)
                {
                    Assert.True(Values.SameBits(ours, theirs), $"[{rows} x {columns}]");
                    continue;
                }

                // The reference sums columns squares one after the other; that alone may be off by so many roundings.
                double bound = tolerance + (columns / (double)(1 << 24));
                float largest = theirs.Max(MathF.Abs);
                for (int i = 0; i < ours.Length; i++)
                    Assert.InRange(ours[i] - theirs[i], -bound * largest, bound * largest);
            }
        }
    }
}
