using Nibble.Core.Compute;
using Nibble.Core.Encodings;

namespace Nibble.Cpu.Tests;

/// <summary>Encoded weights in every operation that reads weights, against values that <see cref="EncodedTensor.DecodeRow"/> gives.</summary>
public class EncodedTests
{
    private const double Epsilon = 1.0 / (1 << 24);

    private static readonly (int Rows, int Columns)[] s_shapes = [(1, 64), (3, 64), (5, 192), (16, 128), (33, 320), (131, 256)];

    public static TheoryData<string> Names => [.. EncodedSamples.Encodings(64, 1).Keys];

    public static TheoryData<string, string> PathsAndNames
    {
        get
        {
            TheoryData<string, string> cases = [];
            foreach (string path in Cases.PathNames)
                foreach (string name in EncodedSamples.Encodings(64, 1).Keys) cases.Add(path, name);
            return cases;
        }
    }

    [Theory]
    [MemberData(nameof(PathsAndNames))]
    public void Exact_product_is_within_the_rounding_of_float32_sums(string path, string name)
    {
        using CpuBackend cpu = new(new CpuOptions { Path = path, Exact = true, Threads = 2 });
        using ReferenceBackend reference = new();
        foreach ((int rows, int columns) in s_shapes)
        {
            EncodedTensor source = Source(name, rows, columns);
            foreach (Backend backend in (Backend[])[cpu, reference])
            {
                using Weight weight = backend.Upload(source, [0.75f]);
                foreach (int tokens in (int[])[1, 3, 33])
                {
                    float[] x = Values.Random(new Random(tokens), tokens * columns), y = Product(backend, x, weight, tokens), row = new float[columns];
                    if (source.InputScale != 0) InputRounding.Round(x, source.InputScale, x);
                    for (int r = 0; r < rows; r++)
                    {
                        source.DecodeRow(r, row);
                        for (int t = 0; t < tokens; t++)
                        {
                            double sum = 0, size = 0;
                            for (int c = 0; c < columns; c++)
                            {
                                sum += (double)row[c] * x[(t * columns) + c];
                                size += Math.Abs((double)row[c] * x[(t * columns) + c]);
                            }

                            double bound = (((columns / 16) + 6) * Epsilon * size * 1.01) + 1e-42;
                            Assert.InRange(y[(t * rows) + r] - (0.75 * sum), -bound, bound);
                        }
                    }
                }
            }
        }
    }

    [Theory]
    [InlineData(40, false)]
    [InlineData(64, true)]
    [InlineData(192, false)]
    public void Weights_that_read_the_same_input_round_it_each_by_its_own_scale(int columns, bool isGroupOf16)
    {
        const int Tokens = 11;
        float[] scales = [0.004f, 0, 0.002f, 0.004f];
        EncodedTensor[] sources = [.. scales.Select((scale, i) =>
        {
            TensorEncoding encoding = new GroupEncoding($"w{i}", columns, 7 + i) { Bits = 8, Group = isGroupOf16 ? 16 : columns, Zero = 128, HasInputScale = scale != 0 };
            EncodedData data = EncodedSamples.Data(encoding, i);
            return new EncodedTensor(encoding, scale == 0 ? data : data.Set<float>(EncodedPart.InputScale, [scale]));
        })];
        float[] x = Values.Random(new Random(3), Tokens * columns);
        using ReferenceBackend reference = new();
        foreach (bool exact in (bool[])[true, false])
        {
            using CpuBackend cpu = new(new CpuOptions { Exact = exact, Threads = 2 });
            Weight[] weights = [.. sources.Select(source => cpu.Upload(source))];
            Tensor input = Values.Tensor(cpu, Tokens, columns, 5, x);
            Tensor[] y = [.. weights.Select(weight => Values.Tensor(cpu, Tokens, weight.Rows, 3))];
            cpu.MatMul(input, weights, y);
            for (int i = 0; i < weights.Length; i++)
            {
                using Weight same = reference.Upload(sources[i]);

                // Sums of the same whole numbers; where there is no scale, those of 32 columns have their own.
                Assert.InRange(Nmse.Of(Values.Read(cpu, y[i]), Product(reference, x, same, Tokens)), 0, scales[i] != 0 || exact ? 1e-11 : 1e-4);
                Assert.Equal(scales[i], same.InputScale);
                weights[i].Dispose();
            }
        }

        using Weight clipped = reference.Upload(sources[0]), free = reference.Upload(sources[1]);
        Assert.InRange(x.Max(MathF.Abs), 2 * 127 * 0.002f, 10);
        Assert.NotEqual(0, clipped.InputScale);
        Assert.Equal(0, free.InputScale);
    }

    [Fact]
    public void Experts_round_their_input_by_the_one_scale_of_all()
    {
        const int Tokens = 6, Used = 2, Experts = 3, Columns = 64, Rows = 18;
        TensorEncoding encoding = EncodedSamples.Encodings(Columns, Rows)["int8-static"] with { Matrices = Experts };
        EncodedTensor source = new(encoding, EncodedSamples.Data(encoding, 3));
        float[] x = Values.Random(new Random(6), Tokens * Columns), rounded = new float[x.Length], row = new float[Columns];
        InputRounding.Round(x, source.InputScale, rounded);
        using CpuBackend packed = new(new CpuOptions { Threads = 2 }), exact = new(new CpuOptions { Exact = true });
        using ReferenceBackend reference = new();
        foreach (Backend backend in (Backend[])[packed, exact, reference])
        {
            using Weight weight = backend.Upload(source);
            Tensor input = Values.Tensor(backend, Tokens, Columns, 7, x), ids = Values.Tensor(backend, Tokens, Used, type: ElementType.Int32), y = Values.Tensor(backend, Tokens * Used, Rows);
            for (int t = 0; t < Tokens; t++)
                for (int i = 0; i < Used; i++)
                    HostTensorBuffer.IntRow(ids, t)[i] = (t + i) % Experts;
            backend.MatMulExperts(input, weight, ids, y);
            float[] values = Values.Read(backend, y);
            for (int pair = 0; pair < Tokens * Used; pair++)
            {
                for (int r = 0; r < Rows; r++)
                {
                    source.DecodeRow(((((pair / Used) + (pair % Used)) % Experts) * Rows) + r, row);
                    double sum = 0, size = 0;
                    for (int c = 0; c < Columns; c++)
                        (sum, size) = (sum + (row[c] * (double)rounded[(pair / Used * Columns) + c]), size + Math.Abs(row[c] * (double)rounded[(pair / Used * Columns) + c]));
                    Assert.InRange(values[(pair * Rows) + r] - sum, -60 * Epsilon * size, 60 * Epsilon * size);
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Rows_are_those_of_the_encoding(string name)
    {
        EncodedTensor source = Source(name, 33, 192);
        using CpuBackend cpu = new(new CpuOptions { Threads = 2 });
        using ReferenceBackend reference = new();
        int[] asked = [32, 0, 7, 7];
        foreach (Backend backend in (Backend[])[cpu, reference])
        {
            using Weight table = backend.Upload(source, [2f]);
            Tensor y = Values.Tensor(backend, asked.Length, 192, gap: 3);
            backend.GetRows(table, asked, y);
            float[] values = Values.Read(backend, y), row = new float[192];
            for (int i = 0; i < asked.Length; i++)
            {
                source.DecodeRow(asked[i], row);
                Assert.Equal(row.Select(value => value * 2), values.Skip(192 * i).Take(192));
            }
        }
    }

    [Theory]
    [InlineData("nf4")]
    [InlineData("int4-zeros")]
    [InlineData("fp8")]
    public void Experts_and_vectors_are_decoded_where_they_lie(string name)
    {
        const int Tokens = 5, Experts = 3, Columns = 128, Rows = 18;
        TensorEncoding encoding = EncodedSamples.Encodings(Columns, Rows)[name] with { Matrices = Experts };
        EncodedTensor source = new(encoding, EncodedSamples.Data(encoding, 3));
        EncodedTensor gains = Source(name == "fp8" ? "fp8" : "int8", 1, Columns);
        using CpuBackend cpu = new(new CpuOptions { Exact = true });
        using ReferenceBackend reference = new();
        float[] x = Values.Random(new Random(6), Tokens * Columns);
        float[][] results = [.. ((Backend[])[cpu, reference]).Select(backend =>
        {
            using Weight weight = backend.Upload(source), gain = backend.Upload(gains);
            Tensor input = Values.Tensor(backend, Tokens, Columns, 0, x), normed = Values.Tensor(backend, Tokens, Columns), y = Values.Tensor(backend, Tokens, Rows);
            Tensor ids = Values.Tensor(backend, Tokens, 1, type: ElementType.Int32);
            for (int t = 0; t < Tokens; t++)
                HostTensorBuffer.IntRow(ids, t)[0] = (t + 1) % Experts;
            backend.Norm(input, new NormOptions { Epsilon = 1e-5f }, gain, null, normed);
            backend.MatMulExperts(normed, weight, ids, y);
            return Values.Read(backend, y);
        })];
        Assert.InRange(Nmse.Of(results[0], results[1]), 0, 1e-11);
        Assert.Contains(results[1], value => Math.Abs(value) > 1e-3);
    }

    internal static EncodedTensor Source(string name, int rows, int columns)
    {
        TensorEncoding encoding = EncodedSamples.Encodings(columns, rows)[name];
        return new EncodedTensor(encoding, EncodedSamples.Data(encoding, rows + columns));
    }

    internal static float[] Product(Backend backend, float[] x, Weight weight, int tokens)
    {
        Tensor input = Values.Tensor(backend, tokens, weight.Columns, 5, x), y = Values.Tensor(backend, tokens, weight.Rows, 5);
        backend.MatMul(input, weight, y);
        float[] values = Values.Read(backend, y);
        input.Buffer.Dispose();
        y.Buffer.Dispose();
        return values;
    }
}
