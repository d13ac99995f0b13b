using Nibble.Core.Compute;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Core.Memory;
using Nibble.Cpu.Packed;

namespace Nibble.Cpu.Tests;

/// <summary>Packed encoded weights: every encoding on every path, against sums in float64.</summary>
public unsafe class EncodedKernelTests
{
    private const double Epsilon = 1.0 / (1 << 24);

    private static readonly int[] s_tokens = [1, 2, 3, 4, 5, 6, 7, 8, 9, 33];

    // Groups of 32, 64 and 128 columns, and odd numbers of them.
    private static readonly (int Rows, int Columns)[] s_shapes = [(1, 64), (3, 192), (16, 128), (33, 320), (70, 384)];

    public static TheoryData<string, string> PathsAndNames => EncodedTests.PathsAndNames;

    [Theory]
    [MemberData(nameof(PathsAndNames))]
    public void Product_equals_a_scalar_model_of_the_quantized_sums(string path, string name)
    {
        using CpuBackend backend = new(new CpuOptions { Path = path, Threads = 2 });
        foreach ((int rows, int columns) in s_shapes)
        {
            EncodedTensor source = EncodedTests.Source(name, rows, columns);
            using Weight weight = backend.Upload(source, [0.75f]);
            backend.Prepare(weight);
            Assert.NotNull(CpuWeight.Of(weight).Packed);
            (double[][] weights, double[][] sizes) = Model(source);
            foreach (int tokens in s_tokens)
            {
                float[] x = Values.Random(new Random(tokens), tokens * columns), y = EncodedTests.Product(backend, x, weight, tokens);
                for (int t = 0; t < tokens; t++)
                {
                    double[] rounded = Activations(source, x.AsSpan(t * columns, columns));
                    for (int r = 0; r < rows; r++)
                    {
                        double sum = 0, size = 0;
                        for (int c = 0; c < columns; c++)
                        {
                            sum += weights[r][c] * rounded[c];
                            size += sizes[r][c] * Math.Abs(rounded[c]);
                        }

                        double bound = (((columns / 16) + 12) * Epsilon * 4 * size) + 1e-30;
                        Assert.InRange(y[(t * rows) + r] - (0.75 * sum), -bound, bound);
                    }
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(EncodedTests.Names), MemberType = typeof(EncodedTests))]
    public void Product_is_near_the_reference(string name)
    {
        const int Rows = 96, Columns = 768, Tokens = 7;
        EncodedTensor source = EncodedTests.Source(name, Rows, Columns);
        using CpuBackend backend = new(new CpuOptions { Threads = 2 });
        using ReferenceBackend reference = new();
        using Weight weight = backend.Upload(source), same = reference.Upload(source);
        float[] x = Values.Random(new Random(4), Tokens * Columns);

        // 8-bit activations are off by 1.9e-5 of their power here, the nearest 8-bit numbers of a table by at most 2.2e-5; codes that all lie on one side of zero, as random ones with random zeros may, leave
        // less of the sum than of its parts, so that the error is a larger share.
        double error = Nmse.Of(EncodedTests.Product(backend, x, weight, Tokens), EncodedTests.Product(reference, x, same, Tokens));
        Assert.InRange(error, 0, source.Encoding is Float8Encoding ? 1e-12 : source.Encoding is TableEncoding ? 6e-5 : 4e-5);
    }

    [Theory]
    [MemberData(nameof(PathsAndNames))]
    public void Product_does_not_depend_on_batch_threads_or_tiles(string path, string name)
    {
        EncodedTensor source = EncodedTests.Source(name, 67, 256);
        float[] x = Values.Random(new Random(2), 33 * 256);
        float[]? first = null;
        foreach (int threads in (int[])[1, 3])
        {
            using CpuBackend backend = new(new CpuOptions { Path = path, Threads = threads });
            using Weight weight = backend.Upload(source);
            foreach (int batch in (int[])[33, 1, 7])
            {
                float[] y = new float[33 * 67];
                for (int t = 0; t < 33; t += batch)
                {
                    int tokens = Math.Min(batch, 33 - t);
                    EncodedTests.Product(backend, x[(t * 256)..((t + tokens) * 256)], weight, tokens).CopyTo(y, t * 67);
                }

                first ??= y;
                Assert.True(Values.SameBits(first, y), $"{threads} threads, batch {batch}");
            }
        }
    }

    [Theory]
    [MemberData(nameof(EncodedTests.Names), MemberType = typeof(EncodedTests))]
    public void All_paths_give_the_same_bits(string name)
    {
        string[] paths = [.. Cases.PathNames];
        if (paths.Length < 2) Assert.Skip("there is one such path here");
        EncodedTensor source = EncodedTests.Source(name, 35, 192);
        float[] x = Values.Random(new Random(6), 11 * 192);
        float[][] products = [.. paths.Append(null).Select(path =>
        {
            using CpuBackend backend = new(new CpuOptions { Path = path, Threads = 1 });
            using Weight weight = backend.Upload(source);
            return EncodedTests.Product(backend, x, weight, 11);
        })];
        Assert.All(products, product => Assert.Equal(products[0], product));
    }

    [Theory]
    [MemberData(nameof(PathsAndNames))]
    public void Nothing_outside_of_tiles_and_activations_is_touched(string path, string name)
    {
        foreach (GuardSide side in new[] { GuardSide.Start, GuardSide.End })
        {
            foreach ((int rows, int tokens, int columns) in new[] { (1, 1, 64), (5, 3, 192), (16, 9, 128), (33, 1, 256), (100, 1, 64), (20, 7, 384) })
            {
                EncodedTensor source = EncodedTests.Source(name, rows, columns);
                EncodedKernel kernel = EncodedKernels.Of(path, source)!;
                int blocks = columns / kernel.TileColumns, rowTiles = (rows + 15) / 16;
                using GuardedMemory<byte> tiles = new(rowTiles * blocks * kernel.TileBytes, side);
                for (int tile = 0; tile < rowTiles; tile++)
                    Assert.True(kernel.Pack(source, tile * 16, Math.Min(16, rows - (tile * 16)), tiles.Pointer + (tile * blocks * kernel.TileBytes)));
                using NativeArena arena = new();
                using PackedMatrix orders = new(kernel, columns, rows, 1, arena, source);
                Assert.All(GuardedProduct.Of(kernel, tiles.Pointer, rows, columns, tokens, side, orders), value => Assert.True(value != 0 && float.IsFinite(value)));
            }
        }
    }

    [Fact]
    public void Rows_of_which_16_are_more_than_an_array_holds_have_no_packed_order()
    {
        foreach ((int columns, bool isPacked) in new[] { ((1 << 27) - 128, true), (1 << 27, false) })
        {
            EncodedData data = new EncodedData().Set(EncodedPart.Codes, new byte[columns]).Set(EncodedPart.Scales, new byte[sizeof(float)]);
            EncodedTensor source = new(new Int8Encoding("w", columns, 1), data);
            Assert.Equal(isPacked, EncodedKernels.Of("vector128", source) is not null);
        }
    }

    /// <summary>Sums that 32 bits do not hold, of the largest codes: what is summed in integers is short enough, whatever the row.</summary>
    [Theory]
    [MemberData(nameof(Cases.Paths), MemberType = typeof(Cases))]
    public void Long_rows_of_the_largest_codes_and_activations_do_not_overflow(string path)
    {
        // 128 x 127 x 2^18 is more than 2^31.
        const int Columns = 1 << 18, Rows = 3;
        TableEncoding table = new("w", Columns, Rows) { Block = 64 };
        foreach (TensorEncoding encoding in (TensorEncoding[])
            [
                new GroupEncoding("w", Columns, Rows) { Bits = 8, Group = Columns, ScaleFormat = BlockFormats.F32 },
                new GroupEncoding("w", Columns, Rows) { Bits = 8, Group = 128, ScaleFormat = BlockFormats.F32, Zero = 255 },
                new GroupEncoding("w", Columns, Rows) { Bits = 4, Group = 32, ScaleFormat = BlockFormats.F32 },
                new Int8Encoding("w", Columns, Rows),
                table,
            ])
        {
            EncodedData data = EncodedSamples.Data(encoding, 1);
            bool isTable = encoding == table;
            foreach (byte code in (byte[])[encoding is Int8Encoding ? (byte)127 : (byte)255, isTable || encoding is Int8Encoding ? (byte)0x80 : (byte)0])
            {
                byte[] codes = new byte[encoding.Parts()[0].ByteLength];
                codes.AsSpan().Fill(code);
                float[] scales = new float[encoding.Parts()[1].ByteLength / sizeof(float)];
                scales.AsSpan().Fill(1);
                EncodedTensor source = new(encoding, data.Set(EncodedPart.Codes, codes).Set<float>(EncodedPart.Scales, scales));
                float[] row = new float[Columns];
                source.DecodeRow(1, row);
                using CpuBackend backend = new(new CpuOptions { Path = path, Threads = 1 });
                using Weight weight = backend.Upload(source);
                foreach (int tokens in (int[])[1, 5])
                {
                    float[] x = new float[tokens * Columns], y;
                    for (int i = 0; i < x.Length; i++)
                        x[i] = i / Columns % 2 == 0 ? 127 : -127;
                    y = EncodedTests.Product(backend, x, weight, tokens);
                    Assert.NotNull(CpuWeight.Of(weight).Packed);
                    double sum = row.Sum(value => (double)value), size = row.Sum(value => Math.Abs((double)value)) + (128.0 * Columns);
                    for (int i = 0; i < y.Length; i++)
                        Assert.InRange(y[i] - (x[i / Rows * Columns] * sum), -127 * 0.001 * size, 127 * 0.001 * size);
                }
            }
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Experts_with_an_order_of_columns_give_what_each_matrix_gives(bool shared)
    {
        const int Tokens = 9, Used = 2, Experts = 5, Columns = 128, Rows = 41;
        TensorEncoding encoding = EncodedSamples.Encodings(Columns, Rows)["int4-zeros"] with { Matrices = Experts };
        EncodedTensor source = new(encoding, EncodedSamples.Data(encoding, 3));
        using CpuBackend backend = new(new CpuOptions { Threads = 2 });
        using Weight weight = backend.Upload(source);
        float[] x = Values.Random(new Random(6), (shared ? Tokens : Tokens * Used) * Columns);
        Tensor input = Values.Tensor(backend, shared ? Tokens : Tokens * Used, Columns, 7, x);
        Tensor ids = Values.Tensor(backend, Tokens, Used, 1, type: ElementType.Int32), y = Values.Tensor(backend, Tokens * Used, Rows, 2);
        for (int t = 0; t < Tokens; t++)
            for (int i = 0; i < Used; i++)
                HostTensorBuffer.IntRow(ids, t)[i] = ((t * 3) + i) % Experts;
        backend.MatMulExperts(input, weight, ids, y);
        float[] all = Values.Read(backend, y), row = new float[Columns];
        for (int pair = 0; pair < Tokens * Used; pair++)
        {
            int expert = ((pair / Used * 3) + (pair % Used)) % Experts, token = shared ? pair / Used : pair;
            double[] rounded = Activations(source, x.AsSpan(token * Columns, Columns));
            for (int r = 0; r < Rows; r++)
            {
                source.DecodeRow((expert * Rows) + r, row);
                double sum = 0, size = 0;
                for (int c = 0; c < Columns; c++)
                    (sum, size) = (sum + (row[c] * rounded[c]), size + (0.3 * Math.Abs(rounded[c])));
                Assert.InRange(all[(pair * Rows) + r] - sum, -80 * Epsilon * size, 80 * Epsilon * size);
            }
        }
    }

    [Fact]
    public void What_has_no_packed_order_is_multiplied_as_decoded()
    {
        const string Name = "w";
        EncodedTensor narrow = Of(new TableEncoding(Name, 48, 5) { Block = 16 });
        EncodedTensor crossing = Of(new GroupEncoding(Name, 96, 5) { Group = 64, IsFlat = true, Zero = 8, ZeroFormat = null } with { Columns = 80 });
        TableEncoding odd = new(Name, 64, 5) { Block = 32, TableName = "custom" };
        byte[] nibbles = new byte[32 * 5];
        nibbles.AsSpan().Fill(0x11);
        nibbles[77] = 0x10;
        EncodedTensor uneven = new(odd, EncodedSamples.Data(odd, 1).Set(EncodedPart.Codes, nibbles).Set<float>(EncodedPart.Table, [1, 0.0019f, .. new float[14]]));
        GroupEncoding wide = new(Name, 64, 5) { Group = 32, ScaleFormat = BlockFormats.F32, Zero = 8 };
        EncodedTensor huge = new(wide, EncodedSamples.Data(wide, 1).Set<float>(EncodedPart.Scales, [.. Enumerable.Repeat(3e8f, 10)]));
        Float8Encoding floats = new(Name, 64, 5);
        byte[] codes = new byte[64 * 5];
        codes[70] = 0x7F;
        EncodedTensor notANumber = new(floats, EncodedSamples.Data(floats, 1).Set(EncodedPart.Codes, codes));
        foreach (EncodedTensor source in (EncodedTensor[])[narrow, crossing, uneven, huge, notANumber])
        {
            using CpuBackend fast = new(), exact = new(new CpuOptions { Exact = true });
            using Weight weight = fast.Upload(source), same = exact.Upload(source);
            float[] x = Values.Random(new Random(1), 3 * source.Columns);
            Assert.Equal(EncodedTests.Product(exact, x, same, 3), EncodedTests.Product(fast, x, weight, 3));
            Assert.True(CpuWeight.Of(weight).IsUnpackable, source.ToString());
        }

        static EncodedTensor Of(TensorEncoding encoding) => new(encoding, EncodedSamples.Data(encoding, 1));
    }

    [Fact]
    public void Memory_that_is_told_is_memory_that_is_taken()
    {
        foreach (string name in EncodedSamples.Encodings(64, 1).Keys)
        {
            EncodedTensor source = EncodedTests.Source(name, 50, 256);
            using CpuBackend fast = new(), exact = new(new CpuOptions { Exact = true });
            using Weight weight = fast.Upload(source);
            fast.Prepare(weight);
            Assert.Equal(CpuWeight.Of(weight).Packed!.Length + OutlierColumns.Bytes(source), fast.UploadBytes(source));
            Assert.Equal(0, exact.UploadBytes(source));
            Assert.Contains($"{source.Format.Name} packed by 16 rows", fast.KernelName(Operation.MatMul, source.Format), StringComparison.Ordinal);
            Assert.Contains("decoded to float32", exact.KernelName(Operation.MatMul, source.Format), StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Groups_of_128_take_no_more_memory_than_four_and_a_half_bits()
    {
        foreach ((string zeros, double bits) in new[] { ("none", 4.25), ("I8", 4.3125), ("F16", 4.5) })
        {
            GroupEncoding encoding = new("w", 256, 32) { Group = 128, ZeroFormat = zeros switch { "I8" => BlockFormats.I8, "F16" => BlockFormats.F16, _ => null }, Zero = zeros == "none" ? 8 : 0 };
            EncodedTensor source = new(encoding, EncodedSamples.Data(encoding, 1));
            using CpuBackend backend = new();
            Assert.Equal(bits, 8.0 * backend.UploadBytes(source) / (256 * 32));
        }
    }

    [Fact]
    public void An_activation_that_is_not_finite_shows_in_its_row_alone()
    {
        EncodedTensor source = EncodedTests.Source("llm.int8-outliers", 8, 64);
        using CpuBackend backend = new();
        using Weight weight = backend.Upload(source);
        int outlier = source.OutlierColumns[2], usual = Enumerable.Range(0, 64).First(column => source.OutlierColumns.IndexOf(column) < 0);
        foreach (int column in (int[])[outlier, usual])
        {
            float[] x = Values.Random(new Random(1), 3 * 64);
            x[64 + column] = float.NaN;
            float[] y = EncodedTests.Product(backend, x, weight, 3);
            Assert.All(y[8..16], value => Assert.True(float.IsNaN(value)));
            Assert.All(y[..8].Concat(y[16..]), value => Assert.True(float.IsFinite(value)));
        }
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    [InlineData(float.NegativeInfinity)]
    public void A_bound_hides_nothing_that_is_not_finite(float value)
    {
        EncodedTensor source = EncodedTests.Source("int8-static", 8, 64);
        using CpuBackend packed = new(), exact = new(new CpuOptions { Exact = true });
        using ReferenceBackend reference = new();
        float[] x = Values.Random(new Random(1), 3 * 64);
        (x[64 + 33], x[5]) = (value, 3e38f);
        foreach (Backend backend in (Backend[])[packed, exact, reference])
        {
            using Weight weight = backend.Upload(source);
            float[] y = EncodedTests.Product(backend, x, weight, 3);
            Assert.All(y[8..16], one => Assert.True(float.IsNaN(one)));
            Assert.All(y[..8].Concat(y[16..]), one => Assert.True(float.IsFinite(one)));
        }
    }

    [Fact]
    public void Tables_become_the_nearest_bytes()
    {
        double[] alike = [.. Enumerable.Repeat(1.0, 16)];
        Assert.InRange(Error(EncodedSamples.Nf4, alike), 0, 1.2e-5);
        Assert.InRange(Error(EncodedSamples.Fp4, alike), 0, 6e-6);
        Assert.InRange(Error([.. Enumerable.Range(0, 16).Select(i => (i * 0.3f) - 2.1f)], alike), 0, 1e-12);
        Assert.Equal(0, Error(new float[16], alike));
        float[] powers = [.. Enumerable.Range(0, 16).Select(i => MathF.Pow(3, -i))];
        Assert.InRange(Error(powers, alike), 1e-6, TableBytes.MostError);

        // What is hardly used counts as little, and what is used alone as all.
        double[] small = [.. Enumerable.Range(0, 16).Select(i => i < 6 ? 0.0 : 1.0)];
        Assert.Null(TableBytes.Of(powers, small));
        Assert.Null(TableBytes.Of([.. powers.Select((power, i) => i == 3 ? float.NaN : power)], alike));

        // The uses of normal weights whose blocks of 64 have their largest magnitude as scale.
        Random random = new(8);
        double[] uses = new double[16];
        for (int block = 0; block < 500; block++)
        {
            double[] values = [.. Enumerable.Range(0, 64).Select(_ => Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()))];
            double largest = values.Max(Math.Abs);
            foreach (double value in values)
                uses[Enumerable.Range(0, 16).MinBy(i => Math.Abs(EncodedSamples.Nf4[i] - (value / largest)))]++;
        }

        Assert.InRange(Error(EncodedSamples.Nf4, uses), 0, 2.3e-5);

        static double Error(float[] values, double[] uses)
        {
            TableBytes table = TableBytes.Of(values, uses)!.Value;
            double error = 0, size = 1e-300;
            for (int i = 0; i < 16; i++)
            {
                double miss = values[i] - (table.Unit * (double)(table.Bytes[i] - 128));
                (error, size) = (error + (uses[i] * miss * miss), size + (uses[i] * values[i] * values[i]));
            }

            return error / size;
        }
    }

    // Weights as kernels have them, and what each adds to the sums that are rounded.
    private static (double[][] Weights, double[][] Sizes) Model(EncodedTensor source)
    {
        int columns = source.Columns, run = source.ScaleRun;
        TableBytes? table = source.Encoding is TableEncoding ? TableBytes.Of(source) : null;
        byte[] codes = new byte[columns];
        float[] scales = new float[columns / run], zeros = new float[columns / run], row = new float[columns];
        double[][] weights = new double[source.Rows][], sizes = new double[source.Rows][];
        for (int r = 0; r < source.Rows; r++)
        {
            (weights[r], sizes[r]) = (new double[columns], new double[columns]);
            source.CopyCodes(r, codes);
            source.CopyScales(r, scales, zeros);
            source.DecodeRow(r, row);
            for (int j = 0; j < columns; j++)
            {
                int column = source.ColumnOrder.IsEmpty ? j : source.ColumnOrder[j];
                bool isApart = source.OutlierColumns.IndexOf(column) >= 0;
                weights[r][column] = table is { } found && !isApart ? (double)scales[j / run] * found.Unit * (found.Bytes[codes[j]] - 128) : row[column];
                sizes[r][column] = Math.Abs(row[column]) + (source.Encoding is GroupEncoding ? Math.Abs(scales[j / run]) * (codes[j] + zeros[j / run]) : 0);
            }
        }

        return (weights, sizes);
    }

    // Activations as kernels have them: those of 32 stored columns are rounded together, those of outliers and of float formats not.
    private static double[] Activations(EncodedTensor source, ReadOnlySpan<float> x)
    {
        double[] rounded = new double[x.Length];
        if (source.InputScale != 0)
        {
            float[] multiples = new float[x.Length];
            InputRounding.Round(x, source.InputScale, multiples);
            return [.. multiples.Select(value => source.InputScale * Math.Round(value / (double)source.InputScale))];
        }

        int[] order = source.ColumnOrder.IsEmpty ? [.. Enumerable.Range(0, x.Length)] : source.ColumnOrder.ToArray();
        for (int start = 0; start < x.Length; start += 32)
        {
            float largest = 0;
            for (int j = start; j < start + 32; j++)
                if (source.OutlierColumns.IndexOf(order[j]) < 0) largest = MathF.Max(largest, MathF.Abs(x[order[j]]));
            float scale = largest / 127, inverse = 127 / largest;
            for (int j = start; j < start + 32; j++)
                rounded[order[j]] = source.OutlierColumns.IndexOf(order[j]) >= 0 || source.Encoding is Float8Encoding ? x[order[j]] : scale * (double)MathF.Round(x[order[j]] * inverse);
        }

        return rounded;
    }
}
