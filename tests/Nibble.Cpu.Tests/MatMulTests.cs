using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Cpu.Tests;

/// <summary>Products in both modes, every format on every path that runs here.</summary>
public class MatMulTests
{
    private const double Epsilon = 1.0 / (1 << 24);

    private static readonly int[] s_tokens = [1, 2, 3, 7, 33];

    [Theory]
    [MemberData(nameof(Cases.PathsAndFormats), MemberType = typeof(Cases))]
    public void Exact_product_is_within_the_rounding_of_float32_sums(string path, string formatName)
    {
        BlockFormat format = BlockFormats.Find(formatName)!;
        using CpuBackend backend = new(new CpuOptions { Path = path, Exact = true, Threads = 2 });
        foreach ((int rows, int columns) in Shapes(format))
        {
            using TestWeights source = new(format, rows, columns, seed: rows + columns);
            using Weight weight = backend.Upload(source, [0.75f]);
            foreach (int tokens in s_tokens)
            {
                float[] x = Values.Random(new Random(tokens), tokens * columns);
                float[] y = Product(backend, x, weight, tokens, gap: 5);
                for (int r = 0; r < rows; r++)
                {
                    float[] row = source.Decode(r);
                    for (int t = 0; t < tokens; t++)
                    {
                        double sum = 0, size = 0;
                        for (int c = 0; c < columns; c++)
                        {
                            sum += (double)row[c] * x[(t * columns) + c];
                            size += Math.Abs((double)row[c] * x[(t * columns) + c]);
                        }

                        // Every product and addition rounds once, at most columns / 16 + 4 of them one after the other, and then the scale.
                        Assert.InRange(y[(t * rows) + r] - (0.75 * sum), -Bound(columns, size), Bound(columns, size));
                    }
                }
            }
        }

        static double Bound(int columns, double size) => (((columns / 16) + 6) * Epsilon * size * 1.01) + 1e-42;
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 1)]
    [InlineData(3, 1)]
    [InlineData(7, 1)]
    [InlineData(1, 2)]
    [InlineData(2, 3)]
    [InlineData(3, 2)]
    [InlineData(7, 3)]
    public void Few_tokens_times_several_matrices_give_the_bits_of_each_alone_with_any_number_of_threads(int threads, int tokens)
    {
        // Two products in turn, as in a forward pass, so that each follows the other; their row tiles (7, 1, 40 and 33) fall unevenly on threads.
        const int Columns = 512;
        (string Format, int Rows)[] shapes = [("Q4_0", 100), ("F16", 5), ("Q6_K", 640), ("Q8_0", 513)];
        using CpuBackend alone = new(new CpuOptions { Threads = 1 }), team = new(new CpuOptions { Threads = threads });
        TestWeights[] sources = [.. shapes.Select(shape => new TestWeights(BlockFormats.Find(shape.Format)!, shape.Rows, Columns, shape.Rows))];
        Weight[] ones = [.. sources.Select(source => alone.Upload(source))], several = [.. sources.Select(source => team.Upload(source))];
        float[] values = Values.Random(new Random(threads), tokens * Columns);
        Tensor input = Values.Tensor(team, tokens, Columns, 0, values);
        Tensor[] outputs = [.. shapes.Select(shape => team.Allocate(ElementType.Float32, tokens, shape.Rows))];
        for (int run = 0; run < 5; run++)
        {
            foreach (Tensor output in outputs)
                team.Write(new float[tokens * output.Columns], output);
            team.MatMul(input, several.AsSpan(0, 3), outputs.AsSpan(0, 3));
            team.MatMul(input, several[3], outputs[3]);
            for (int i = 0; i < shapes.Length; i++)
            {
                float[] y = Values.Read(team, outputs[i]);
                for (int t = 0; t < tokens; t++)
                    Assert.Equal(Product(alone, values[(t * Columns)..((t + 1) * Columns)], ones[i], 1, gap: 0), y[(t * shapes[i].Rows)..((t + 1) * shapes[i].Rows)]);
            }
        }

        foreach (IDisposable used in sources.Cast<IDisposable>().Concat(ones).Concat(several))
            used.Dispose();
    }

    [Theory]
    [MemberData(nameof(Cases.PathsAndCodeFormats), MemberType = typeof(Cases))]
    public void Fast_product_equals_a_scalar_model_of_the_quantized_sums(string path, string formatName)
    {
        BlockFormat format = BlockFormats.Find(formatName)!;
        using CpuBackend backend = new(new CpuOptions { Path = path, Threads = 2 });
        foreach ((int rows, int columns) in Shapes(format))
        {
            using TestWeights source = new(format, rows, columns, seed: rows + columns);
            using Weight weight = backend.Upload(source);
            foreach (int tokens in s_tokens)
            {
                float[] x = Values.Random(new Random(tokens), tokens * columns);
                float[] y = Product(backend, x, weight, tokens, gap: 1);
                double[] model = new double[columns];
                for (int t = 0; t < tokens; t++)
                {
                    Quantize(x.AsSpan(t * columns, columns), model);
                    for (int r = 0; r < rows; r++)
                    {
                        float[] row = source.Decode(r);
                        double sum = 0, size = 0;
                        for (int c = 0; c < columns; c++)
                        {
                            sum += row[c] * model[c];
                            size += Math.Abs(row[c] * model[c]);
                        }

                        // Integers are exact; the product of scales, the decoding in the model and a sum of columns / 16 terms round.
                        double bound = (((columns / 16) + 12) * Epsilon * 4 * size) + 1e-30;
                        Assert.InRange(y[(t * rows) + r] - sum, -bound, bound);
                    }
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Cases.Formats), MemberType = typeof(Cases))]
    public void Fast_product_is_near_the_reference(string formatName)
    {
        BlockFormat format = BlockFormats.Find(formatName)!;
        using CpuBackend backend = new(new CpuOptions { Threads = 2 });
        using ReferenceBackend reference = new();
        using TestWeights source = new(format, 96, 768, seed: 3);
        using Weight weight = backend.Upload(source), same = reference.Upload(source);
        float[] x = Values.Random(new Random(4), 7 * 768);
        double error = Nmse.Of(Product(backend, x, weight, 7), Product(reference, x, same, 7));

        // An activation is off by at most half of largest / 127; uniform, that is a 1/12 of a step squared: about 1e-5 of the power here.
        Assert.InRange(error, 0, format.BlockValues == 1 ? 1e-12 : 1e-4);
    }

    [Theory]
    [MemberData(nameof(Cases.PathsAndFormats), MemberType = typeof(Cases))]
    public void Product_does_not_depend_on_batch_threads_or_tiles(string path, string formatName)
    {
        BlockFormat format = BlockFormats.Find(formatName)!;
        foreach (bool exact in new[] { true, false })
        {
            using TestWeights source = new(format, 67, 512, seed: 1);
            float[] x = Values.Random(new Random(2), 33 * 512);
            float[]? first = null;
            foreach (int threads in new[] { 1, 2, 3 })
            {
                using CpuBackend backend = new(new CpuOptions { Path = path, Exact = exact, Threads = threads });
                using Weight weight = backend.Upload(source);
                foreach (int batch in new[] { 33, 1, 7, 2, 3, 4 })
                {
                    float[] y = new float[33 * 67];
                    for (int t = 0; t < 33; t += batch)
                    {
                        int tokens = Math.Min(batch, 33 - t);
                        Product(backend, x[(t * 512)..((t + tokens) * 512)], weight, tokens).CopyTo(y, t * 67);
                    }

                    first ??= y;
                    Assert.True(Values.SameBits(first, y), $"{format}, exact {exact}, {threads} threads, batch {batch}");
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Cases.Formats), MemberType = typeof(Cases))]
    public void Exact_product_has_the_same_bits_on_every_path(string formatName)
    {
        BlockFormat format = BlockFormats.Find(formatName)!;
        using TestWeights source = new(format, 9, 768, seed: 1);
        float[] x = Values.Random(new Random(2), 5 * 768);
        float[]? first = null;
        foreach (string path in Cases.PathNames)
        {
            using CpuBackend backend = new(new CpuOptions { Path = path, Exact = true, Threads = 1 });
            using Weight weight = backend.Upload(source);
            float[] y = Product(backend, x, weight, 5);
            first ??= y;
            Assert.True(Values.SameBits(first, y), path);
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Several_matrices_give_what_each_gives(bool exact)
    {
        using CpuBackend backend = new(new CpuOptions { Exact = exact, Threads = 3 });
        using TestWeights a = new(BlockFormats.Q4_K, 33, 512, 1), b = new(BlockFormats.F16, 5, 512, 2), c = new(BlockFormats.Q6_K, 130, 512, 3);
        using Weight wa = backend.Upload(a, [2f]), wb = backend.Upload(b), wc = backend.Upload(c);
        float[] x = Values.Random(new Random(9), 7 * 512);
        Tensor input = Values.Tensor(backend, 7, 512, 3, x), all = Values.Tensor(backend, 7, 168);
        backend.MatMul(input, [wa, wb, wc], [all.SliceColumns(0, 33), all.SliceColumns(33, 5), all.SliceColumns(38, 130)]);
        Assert.Equal(Product(backend, x, wa, 7), Values.Read(backend, all.SliceColumns(0, 33)));
        Assert.Equal(Product(backend, x, wb, 7), Values.Read(backend, all.SliceColumns(33, 5)));
        Assert.Equal(Product(backend, x, wc, 7), Values.Read(backend, all.SliceColumns(38, 130)));
    }

    [Theory]
    [InlineData(true, true, 1)]
    [InlineData(true, false, 2)]
    [InlineData(false, true, 3)]
    [InlineData(false, false, 3)]
    public void Experts_give_what_each_matrix_gives(bool exact, bool shared, int threads)
    {
        const int Tokens = 9, Used = 2, Experts = 6, Columns = 256, Rows = 41;
        using CpuBackend backend = new(new CpuOptions { Exact = exact, Threads = threads });
        using TestWeights source = new(BlockFormats.Q4_K, Rows, Columns, 5, Experts);
        float[] scales = [1, 0.5f, 2, -1, 1, 3];
        using Weight weight = backend.Upload(source, scales);
        float[] x = Values.Random(new Random(6), (shared ? Tokens : Tokens * Used) * Columns);
        Tensor input = Values.Tensor(backend, shared ? Tokens : Tokens * Used, Columns, 7, x);
        Tensor ids = Values.Tensor(backend, Tokens, Used, 1, type: ElementType.Int32), y = Values.Tensor(backend, Tokens * Used, Rows, 2);
        for (int t = 0; t < Tokens; t++)
            for (int i = 0; i < Used; i++)
                HostTensorBuffer.IntRow(ids, t)[i] = ((t * 5) + i) % Experts;
        backend.MatMulExperts(input, weight, ids, y);
        float[] all = Values.Read(backend, y);
        for (int pair = 0; pair < Tokens * Used; pair++)
        {
            int expert = (((pair / Used) * 5) + (pair % Used)) % Experts;
            using MatrixOf one = new(source, expert);
            using Weight alone = backend.Upload(one, [scales[expert]]);
            int row = shared ? pair / Used : pair;
            Assert.Equal(Product(backend, x[(row * Columns)..((row + 1) * Columns)], alone, 1), all[(pair * Rows)..((pair + 1) * Rows)]);
        }
    }

    [Fact]
    public void An_expert_that_is_not_there_is_named()
    {
        using CpuBackend backend = new();
        using TestWeights source = new(BlockFormats.Q8_0, 4, 32, 5, matrices: 2);
        using Weight weight = backend.Upload(source);
        Tensor ids = Values.Tensor(backend, 1, 1, type: ElementType.Int32);
        HostTensorBuffer.IntRow(ids, 0)[0] = 2;
        ArgumentOutOfRangeException error = Assert.Throws<ArgumentOutOfRangeException>(
            () => backend.MatMulExperts(Values.Tensor(backend, 1, 32), weight, ids, Values.Tensor(backend, 1, 4)));
        Assert.Contains("expert 2", error.Message, StringComparison.Ordinal);
        HostTensorBuffer.IntRow(ids, 0)[0] = 1;
        backend.MatMulExperts(Values.Tensor(backend, 1, 32), weight, ids, Values.Tensor(backend, 1, 4));
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void Fast_product_of_an_activation_that_is_not_finite_is_NaN_in_its_row_alone(float bad)
    {
        using CpuBackend backend = new();
        using TestWeights source = new(BlockFormats.Q4_1, 8, 64, 5);
        using Weight weight = backend.Upload(source);
        float[] x = Values.Random(new Random(1), 3 * 64);
        x[64 + 40] = bad;
        float[] y = Product(backend, x, weight, 3);
        Assert.All(y[..8], value => Assert.True(float.IsFinite(value)));
        Assert.All(y[8..16], value => Assert.True(float.IsNaN(value)));
        Assert.All(y[16..], value => Assert.True(float.IsFinite(value)));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Weights_that_are_not_finite_show_in_the_product(bool exact)
    {
        using CpuBackend backend = new(new CpuOptions { Exact = exact });
        using TestWeights source = new(BlockFormats.Q4_0, 2, 64, 5);
        BitConverter.TryWriteBytes(source.Bytes[18..], Half.NaN);
        using Weight weight = backend.Upload(source);
        float[] y = Product(backend, Values.Random(new Random(1), 64), weight, 1);
        Assert.True(float.IsNaN(y[0]));
        Assert.True(float.IsFinite(y[1]));
    }

    private static float[] Product(Backend backend, float[] x, Weight weight, int tokens, int gap = 0)
    {
        Tensor input = Values.Tensor(backend, tokens, weight.Columns, gap, x), y = Values.Tensor(backend, tokens, weight.Rows, gap);
        backend.MatMul(input, weight, y);
        float[] values = Values.Read(backend, y);
        input.Buffer.Dispose();
        y.Buffer.Dispose();
        return values;
    }

    private static IEnumerable<(int Rows, int Columns)> Shapes(BlockFormat format)
    {
        int block = format.BlockValues;
        for (int rows = 1; rows <= 17; rows += 2)
            yield return (rows, block);
        yield return (2, 3 * block);
        yield return (16, 3 * block);
        yield return (70, Math.Max(block, 576 / block * block));
        if (block == 1) yield return (5, 35);
    }

    // The quantized activations in double: what an ideal sum of the integer products gives.
    private static void Quantize(ReadOnlySpan<float> x, Span<double> model)
    {
        for (int start = 0; start < x.Length; start += 32)
        {
            float largest = 0;
            foreach (float value in x.Slice(start, 32))
                largest = MathF.Max(largest, MathF.Abs(value));
            float scale = largest / 127, inverse = 127 / largest;
            for (int i = start; i < start + 32; i++)
                model[i] = scale * (double)MathF.Round(x[i] * inverse);
        }
    }

    private sealed class MatrixOf(TestWeights source, int matrix) : IWeightSource, IDisposable
    {
        public string Name => "one";

        public BlockFormat Format => source.Format;

        public int Columns => source.Columns;

        public int Rows => source.Rows;

        public int Matrices => 1;

        public ReadOnlySpan<byte> Row(long row) => source.Row((matrix * Rows) + row);

        public void Dispose()
        {
        }
    }
}
