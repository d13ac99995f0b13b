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
    public void RmsNorm_equals_the_reference(string path)
    {
        Compare(path, 4e-7, (backend, x, _, rows, columns) =>
        {
            using TestWeights gain = new(BlockFormats.F32, 1, columns, 8);
            using Weight weight = backend.Upload(gain, [1.5f]);
            Tensor input = Values.Tensor(backend, rows, columns, 2, x), y = Values.Tensor(backend, rows, columns, 1), bare = Values.Tensor(backend, rows, columns);
            backend.Norm(input, new NormOptions(NormKind.Rms, 1e-5f), weight, null, y);
            backend.Norm(input, new NormOptions(NormKind.Rms, 1e-6f), null, null, bare);
            backend.Norm(input, new NormOptions(NormKind.Rms, 1e-5f), weight, null, input);
            Assert.Equal(Values.Read(backend, y), Values.Read(backend, input));
            return [.. Values.Read(backend, y), .. Values.Read(backend, bare)];
        });
    }

    [Theory]
    [MemberData(nameof(Cases.Paths), MemberType = typeof(Cases))]
    public void Gated_activations_equal_the_formulas(string path)
    {
        using CpuBackend backend = new(new CpuOptions { Path = path, Threads = 2 });
        foreach ((int rows, int columns) in s_shapes)
        {
            float[] gate = Values.Random(new Random(1), rows * columns), up = Values.Random(new Random(2), rows * columns);
            for (int i = 0; i < gate.Length; i += 3)
                gate[i] *= 40;
            Tensor g = Values.Tensor(backend, rows, columns, 1, gate), u = Values.Tensor(backend, rows, columns, 0, up), y = Values.Tensor(backend, rows, columns, 4);
            foreach (Activation activation in new[] { Activation.Silu, Activation.Gelu })
            {
                backend.GatedActivation(activation, g, u, y);
                float[] ours = Values.Read(backend, y);
                for (int i = 0; i < ours.Length; i++)
                {
                    double x = gate[i];
                    double inner = activation == Activation.Silu ? x : 2 * Math.Sqrt(2 / Math.PI) * (x + (0.044715 * x * x * x));
                    double expected = x / (1 + Math.Exp(-inner)) * up[i];

                    // e^x is within 1.5e-7 and its argument, up to 89 in size, within 2 roundings; beyond, e^x is infinite and the result 0 instead of below 1e-36.
                    Assert.InRange(ours[i] - expected, -(3e-5 * Math.Abs(expected)) - 1e-36, (3e-5 * Math.Abs(expected)) + 1e-36);
                    if (Math.Abs(inner) < 2) Assert.InRange(ours[i] - expected, -8e-7 * Math.Abs(expected), 8e-7 * Math.Abs(expected));
                }
            }

            backend.GatedActivation(Activation.Gelu, g, u, g);
            Assert.Equal(Values.Read(backend, y), Values.Read(backend, g));
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
    [InlineData(RopePairing.Halves, 64, 32)]
    [InlineData(RopePairing.Halves, 80, 37)]
    [InlineData(RopePairing.Adjacent, 64, 32)]
    [InlineData(RopePairing.Adjacent, 6, 3)]
    [InlineData(RopePairing.Adjacent, 128, 20)]
    public void Rope_equals_the_reference_bit_for_bit(RopePairing pairing, int headSize, int pairs)
    {
        using CpuBackend backend = new(new CpuOptions { Threads = 2 });
        using ReferenceBackend reference = new();
        double[] frequencies = [.. Enumerable.Range(0, pairs).Select(i => Math.Pow(10000, -i / (double)pairs))];
        RopeTable rope = new(pairing, frequencies, 1.1f), other = new(pairing, frequencies, 0.5f);

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
    public void Route_equals_the_reference_and_hand_computed_values()
    {
        using CpuBackend backend = new();
        using ReferenceBackend reference = new();
        foreach ((int experts, int used, bool normalize) in new[] { (8, 2, true), (8, 2, false), (5, 5, true), (64, 6, true) })
        {
            float[] logits = Values.Random(new Random(experts), 9 * experts);
            logits.AsSpan(0, experts).Fill(1);
            Routing routing = new(used, normalize, 2.5f);
            (int[] Ids, float[] Weights) ours = Run(backend), theirs = Run(reference);
            Assert.Equal(theirs.Ids, ours.Ids);
            Assert.Equal(theirs.Weights, ours.Weights);
            Assert.Equal(Enumerable.Range(0, used), ours.Ids[..used]);

            (int[] Ids, float[] Weights) Run(Backend by)
            {
                Tensor ids = Values.Tensor(by, 9, used, 1, type: ElementType.Int32), weights = Values.Tensor(by, 9, used, 2);
                by.Route(Values.Tensor(by, 9, experts, 3, logits), in routing, null, ids, weights);
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
        Assert.ThrowsAny<ArgumentException>(() => backend.GatedActivation((Activation)9, a, a, a));
        Assert.ThrowsAny<ArgumentException>(() => backend.Add(a, b, b));
        Assert.ThrowsAny<ArgumentException>(() => backend.AddBias(a, gain));
        Assert.ThrowsAny<ArgumentException>(() => backend.Scale(a, 1, b));
        Assert.ThrowsAny<ArgumentException>(() => backend.Route(a, new Routing(9, true, 1), null, ids, a));
        Assert.ThrowsAny<ArgumentException>(() => backend.Combine(a, b, b));
        Assert.ThrowsAny<ArgumentException>(() => backend.Write([1], a));
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
        backend.GetRows(weight, [], x);
        backend.StoreKv(x, x, cache, 0, 0);
        backend.Attention(x, cache, 0, 0, new AttentionOptions(1, 1), x);
        backend.Rope(x, 32, 0, new RopeTable(RopePairing.Halves, [1], 1));
        backend.Read(x, []);
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
