using Nibble.Core.Compute;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Cpu.Jobs;
using Nibble.Testing;

namespace Nibble.Cpu.Tests;

/// <summary>Products that make the rows of their input themselves: the bits of the operations one after the other, and nothing written between them.</summary>
public class FusedTests
{
    private static readonly int[] s_tokens = [0, 1, 2, 8, 9, 21, 67];

    [Theory]
    [MemberData(nameof(Cases.PathsAndFormats), MemberType = typeof(Cases))]
    public void Products_of_norms_have_the_bits_of_norm_and_product(string path, string formatName)
    {
        BlockFormat format = BlockFormats.Find(formatName)!;
        foreach ((bool exact, int threads) in new[] { (false, 1), (false, 3), (true, 2) })
        {
            using CpuBackend backend = new(new CpuOptions { Path = path, Exact = exact, Threads = threads });
            foreach ((int rows, int columns) in new[] { (1, 256), (33, 256), (18, 1280) })
            {
                using TestWeights first = new(format, rows, columns, 1), second = new(format, 17, columns, 2), third = new(BlockFormats.F16, 5, columns, 3), gains = new(BlockFormats.F32, 1, columns, 4), part = new(BlockFormats.F16, 1, 64, 5);
                using Weight a = backend.Upload(first, [0.5f]), b = backend.Upload(second), c = backend.Upload(third), all = backend.Upload(gains, [1.5f]), each = backend.Upload(part);
                foreach (int tokens in s_tokens)
                {
                    CheckNorms(backend, tokens, new NormOptions(NormKind.Rms, 1e-5f), all, null, a);
                    CheckNorms(backend, tokens, new NormOptions(NormKind.Layer, 1e-5f), all, all, a, b);
                    CheckNorms(backend, tokens, new NormOptions(NormKind.Rms, 1e-5f, 64), each, all, a, c);
                    CheckNorms(backend, tokens, new NormOptions(NormKind.Euclidean, 1e-5f, 128), null, null, c, b, a);
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Cases.PathsAndFormats), MemberType = typeof(Cases))]
    public void Products_of_gated_values_have_the_bits_of_activation_and_product(string path, string formatName)
    {
        BlockFormat format = BlockFormats.Find(formatName)!;
        foreach ((bool exact, int threads) in new[] { (false, 1), (false, 3), (true, 2) })
        {
            using CpuBackend backend = new(new CpuOptions { Path = path, Exact = exact, Threads = threads });
            foreach ((int rows, int columns) in new[] { (1, 256), (33, 1280) })
            {
                using TestWeights source = new(format, rows, columns, 1);
                using Weight weight = backend.Upload(source, [2f]);
                foreach (int tokens in s_tokens)
                    CheckGates(backend, tokens, (Activation)((tokens + rows) % 8), weight);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Cases.Paths), MemberType = typeof(Cases))]
    public void Encoded_weights_read_rows_that_are_made_too(string path)
    {
        using CpuBackend backend = new(new CpuOptions { Path = path, Threads = 2 });
        foreach ((string name, TensorEncoding encoding) in EncodedSamples.Encodings(192, 35))
        {
            using Weight weight = backend.Upload(new EncodedTensor(encoding, EncodedSamples.Data(encoding, 7)));
            using TestWeights source = new(BlockFormats.Q8_0, 20, 192, 3);
            using Weight other = backend.Upload(source);
            foreach (int tokens in s_tokens)
            {
                // Columns apart are added from the rows themselves, so those are stored.
                bool areMade = AreMade(backend, tokens) && !name.Contains("outliers", StringComparison.Ordinal);
                CheckNorms(backend, tokens, new NormOptions(NormKind.Rms, 1e-5f), null, null, [weight, other], areMade);
                CheckGates(backend, tokens, Activation.Silu, weight, areMade);
            }
        }
    }

    [Theory]
    [InlineData(false, 1)]
    [InlineData(false, 3)]
    [InlineData(true, 2)]
    public void Experts_read_gated_values_that_are_made(bool exact, int threads)
    {
        using CpuBackend backend = new(new CpuOptions { Exact = exact, Threads = threads });
        using TestWeights source = new(BlockFormats.Q4_K, 41, 256, 5, matrices: 6);
        using Weight weight = backend.Upload(source, [1, 0.5f, 2, -1, 1, 3]);
        foreach ((int tokens, int used) in new[] { (0, 2), (1, 1), (1, 4), (9, 2), (30, 3), (7, 1) })
        {
            int products = tokens * used;
            Tensor gate = Values.Tensor(backend, products, 256, 7, Values.Random(new Random(6), products * 256)), up = Values.Tensor(backend, products, 256, 1, Values.Random(new Random(7), products * 256));
            Tensor ids = Values.Tensor(backend, tokens, used, 1, type: ElementType.Int32), gated = Poisoned(backend, products, 256), y = Values.Tensor(backend, products, 41, 2), expected = Values.Tensor(backend, products, 41);
            for (int t = 0; t < tokens; t++)
                for (int i = 0; i < used; i++)
                    HostTensorBuffer.IntRow(ids, t)[i] = ((t * 5) + i) % 6;
            backend.MatMulExpertsGated(Activation.Silu, gate, up, gated, weight, ids, y);
            Assert.Equal(!exact || products == 0, Values.Read(backend, gated).All(float.IsNaN));
            backend.GatedActivation(Activation.Silu, gate, up, gated);
            backend.MatMulExperts(gated, weight, ids, expected);
            Assert.True(Values.SameBits(Values.Read(backend, expected), Values.Read(backend, y)), $"{tokens} tokens, {used} experts");
        }
    }

    [Fact]
    public void A_row_that_several_experts_read_is_made_once()
    {
        using CpuBackend backend = new();
        using TestWeights source = new(BlockFormats.Q4_0, 5, 64, 5, matrices: 3);
        using Weight weight = backend.Upload(source);
        Tensor gate = Values.Tensor(backend, 2, 64, 0, Values.Random(new Random(1), 128)), gated = Poisoned(backend, 2, 64), y = Values.Tensor(backend, 6, 5), expected = Values.Tensor(backend, 6, 5);
        Tensor ids = Values.Tensor(backend, 2, 3, type: ElementType.Int32);
        backend.Write([0, 1, 2, 2, 1, 0], ids);
        backend.MatMulExpertsGated(Activation.Relu, gate, gate, gated, weight, ids, y);
        float[] made = Values.Read(backend, gated);
        backend.GatedActivation(Activation.Relu, gate, gate, gated);
        Assert.Equal(Values.Read(backend, gated), made);
        backend.MatMulExperts(gated, weight, ids, expected);
        Assert.Equal(Values.Read(backend, expected), Values.Read(backend, y));
    }

    [Fact]
    public void Values_that_are_not_finite_show_in_their_row_alone()
    {
        using CpuBackend backend = new(new CpuOptions { Threads = 2 });
        using TestWeights source = new(BlockFormats.Q4_0, 33, 256, 1);
        using Weight weight = backend.Upload(source);
        float[] values = Values.Random(new Random(2), 20 * 256);
        values[(3 * 256) + 17] = float.NaN;
        values[(12 * 256) + 200] = float.PositiveInfinity;
        Tensor x = Values.Tensor(backend, 20, 256, 3, values), y = Values.Tensor(backend, 20, 33);
        backend.MatMulNormed(x, new NormOptions(NormKind.Rms, 1e-5f), null, null, x, [weight], [y]);
        float[] normed = Values.Read(backend, y);
        backend.MatMulGated(Activation.Silu, x, x, x, weight, y);
        foreach (float[] result in (float[][])[normed, Values.Read(backend, y)])
            for (int i = 0; i < result.Length; i++)
                Assert.True((i / 33 is 3 or 12) == !float.IsFinite(result[i]), $"row {i / 33}");
    }

    [Fact]
    public void Wrong_shapes_are_refused_as_by_the_operations_themselves()
    {
        using CpuBackend backend = new();
        using TestWeights source = new(BlockFormats.Q8_0, 4, 32, 1), many = new(BlockFormats.Q8_0, 4, 32, 1, matrices: 2), vector = new(BlockFormats.F32, 1, 8, 1);
        using Weight weight = backend.Upload(source), experts = backend.Upload(many), gain = backend.Upload(vector);
        Tensor x = Values.Tensor(backend, 2, 32), narrow = Values.Tensor(backend, 2, 7), y = Values.Tensor(backend, 2, 4), ids = Values.Tensor(backend, 2, 1, type: ElementType.Int32);
        NormOptions options = new(NormKind.Rms, 0);
        Assert.ThrowsAny<ArgumentException>(() => backend.MatMulNormed(x, options, gain, null, x, [weight], [y]));
        Assert.ThrowsAny<ArgumentException>(() => backend.MatMulNormed(x, options, null, null, narrow, [weight], [y]));
        Assert.ThrowsAny<ArgumentException>(() => backend.MatMulNormed(x, options, null, null, x, [weight], [narrow]));
        Assert.ThrowsAny<ArgumentException>(() => backend.MatMulNormed(x, options, null, null, x, [weight], []));
        Assert.ThrowsAny<ArgumentException>(() => backend.MatMulNormed(x, options with { Size = 5 }, null, null, x, [weight], [y]));
        Assert.ThrowsAny<ArgumentException>(() => backend.MatMulGated(Activation.Silu, x, narrow, x, weight, y));
        Assert.ThrowsAny<ArgumentException>(() => backend.MatMulGated(Activation.Silu, x, x, x, weight, narrow));
        Assert.ThrowsAny<ArgumentException>(() => backend.MatMulGated((Activation)99, x, x, x, weight, y));
        Assert.ThrowsAny<ArgumentException>(() => backend.MatMulExpertsGated(Activation.Silu, x, x, narrow, experts, ids, y));
        Assert.ThrowsAny<ArgumentException>(() => backend.MatMulExpertsGated(Activation.Silu, x, x, x, experts, ids, narrow));
        backend.Write([0, 2], ids);
        Assert.ThrowsAny<ArgumentException>(() => backend.MatMulExpertsGated(Activation.Silu, x, x, x, experts, ids, y));

        // The backend is free again after each of them.
        backend.MatMulNormed(x, options, null, null, x, [weight], [y]);
    }

    // One token, or a tile of tokens for each thread that runs.
    private static bool AreMade(CpuBackend backend, int tokens) => tokens == 1 || PackedMatMulJob.TokenTileCount(tokens) >= Math.Min(backend.Threads, Environment.ProcessorCount);

    private static Tensor Poisoned(Backend backend, int rows, int columns) => Values.Tensor(backend, rows, columns, 1, [.. Enumerable.Repeat(float.NaN, rows * columns)]);

    private static void CheckNorms(CpuBackend backend, int tokens, NormOptions options, Weight? gain, Weight? bias, params Weight[] weights) => CheckNorms(backend, tokens, options, gain, bias, weights, null);

    private static void CheckNorms(CpuBackend backend, int tokens, NormOptions options, Weight? gain, Weight? bias, Weight[] weights, bool? areMade)
    {
        int columns = weights[0].Columns;
        float[] values = [.. Values.Random(new Random(tokens), tokens * columns).Select(value => value + 0.5f)];
        Tensor x = Values.Tensor(backend, tokens, columns, 3, values), normed = Poisoned(backend, tokens, columns);
        Tensor[] y = [.. weights.Select(weight => Values.Tensor(backend, tokens, weight.Rows, 2))], again = [.. weights.Select(weight => Values.Tensor(backend, tokens, weight.Rows))], expected = [.. again.Select(tensor => backend.Allocate(ElementType.Float32, tokens, tensor.Columns))];
        backend.MatMulNormed(x, options, gain, bias, normed, weights, y);
        if (areMade is { } made) Assert.Equal(made || tokens == 0, Values.Read(backend, normed).All(float.IsNaN));
        Assert.True(Values.SameBits(values, Values.Read(backend, x)));
        backend.Norm(x, options, gain, bias, normed);
        backend.MatMul(normed, weights, expected);
        backend.MatMulNormed(x, options, gain, bias, x, weights, again);
        for (int i = 0; i < weights.Length; i++)
        {
            Assert.True(Values.SameBits(Values.Read(backend, expected[i]), Values.Read(backend, y[i])), $"{weights[i].Name}, {tokens} tokens");
            Assert.True(Values.SameBits(Values.Read(backend, expected[i]), Values.Read(backend, again[i])), $"{weights[i].Name}, {tokens} tokens, in place");
        }
    }

    private static void CheckGates(CpuBackend backend, int tokens, Activation activation, Weight weight, bool? areMade = null)
    {
        int columns = weight.Columns;
        Tensor gate = Values.Tensor(backend, tokens, columns, 5, Values.Random(new Random(tokens), tokens * columns)), up = Values.Tensor(backend, tokens, columns, 0, Values.Random(new Random(1), tokens * columns));
        Tensor gated = Poisoned(backend, tokens, columns), y = Values.Tensor(backend, tokens, weight.Rows, 2), again = Values.Tensor(backend, tokens, weight.Rows), expected = Values.Tensor(backend, tokens, weight.Rows, 1);
        backend.MatMulGated(activation, gate, up, gated, weight, y);
        if (areMade is { } made) Assert.Equal(made || tokens == 0, Values.Read(backend, gated).All(float.IsNaN));
        backend.GatedActivation(activation, gate, up, gated);
        backend.MatMul(gated, weight, expected);
        backend.MatMulGated(activation, gate, up, gate, weight, again);
        Assert.True(Values.SameBits(Values.Read(backend, expected), Values.Read(backend, y)), $"{weight.Name}, {activation}, {tokens} tokens");
        Assert.True(Values.SameBits(Values.Read(backend, expected), Values.Read(backend, again)), $"{weight.Name}, {activation}, {tokens} tokens, in place");
    }
}
