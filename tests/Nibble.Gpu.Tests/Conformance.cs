using Nibble.Core.Compute;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Gpu.Weights;

namespace Nibble.Gpu.Tests;

/// <summary>Operations of a backend against <see cref="ReferenceBackend"/>, case after case. <see cref="IsSmall"/> is for devices that are simulated.</summary>
internal sealed class Conformance(GpuBackend backend, bool isSmall = false, bool isTiled = false) : IDisposable
{
    // A float32 result of a few operations, and of functions that may be off by some units in the last place.
    private const double Elementary = 4e-6;

    private readonly ReferenceBackend _reference = new();

    /// <summary>Cases that were compared.</summary>
    public int Cases { get; private set; }

    /// <summary>Whether only small shapes are compared.</summary>
    public bool IsSmall { get; } = isSmall;

    /// <summary>[rows x columns] of tensors, awkward ones among them.</summary>
    public (int Rows, int Columns)[] Shapes => IsSmall ? [(1, 1), (3, 37)] : [(1, 1), (2, 3), (3, 16), (1, 31), (7, 64), (5, 577), (33, 48), (2, 3000), (130, 257)];

    private static (int Heads, int KvHeads, int Key, int Value)[] HeadShapes => [(1, 1, 64, 64), (4, 2, 32, 32), (6, 2, 80, 48), (3, 1, 33, 35)];

    /// <inheritdoc/>
    public void Dispose() => _reference.Dispose();

    /// <summary>Products of one format.</summary>
    public void Products(BlockFormat format)
    {
        int block = format.BlockValues;
        int[] widths = block == 1 ? (IsSmall ? [13] : [1, 31, 96]) : (IsSmall ? [block] : [block, 3 * block]);
        foreach (int columns in widths)
            foreach (int rows in IsSmall ? [17] : (int[])[1, 31, 33, 257])
                Product(new TestWeights(format, rows, columns, rows + columns));
    }

    /// <summary>Products of one encoding.</summary>
    public void Products(TensorEncoding encoding) => Product(new EncodedTensor(encoding, EncodedSamples.Data(encoding, 5)));

    /// <summary>Products with a matrix, and its rows.</summary>
    public void Product(IWeightSource source)
    {
        Rows(source);
        int[] counts = IsSmall ? [1, 3] : [1, 2, 3, 4, 5, 8, 9, 17, 31, 130];
        int most = counts[^1], columns = source.Columns, rows = source.Rows;
        float[] x = TestDevice.Random(new Random(columns), most * columns), row = new float[columns];
        float[] inputs = [.. x];
        if (source.InputScale != 0) InputRounding.Round(x, source.InputScale, inputs);
        inputs = RoundedActivations.Of(UsedBy(source), inputs);
        double[] expected = new double[most * rows], sizes = new double[most * rows];
        for (int r = 0; r < rows; r++)
        {
            source.CopyRow(r, row);
            for (int t = 0; t < most; t++)
            {
                double sum = 0, size = 0;
                for (int c = 0; c < columns; c++)
                {
                    double product = (double)row[c] * inputs[(t * columns) + c];
                    sum += product;
                    size += Math.Abs(product);
                }

                (expected[(t * rows) + r], sizes[(t * rows) + r]) = (1.5 * sum, 1.5 * size);
            }
        }

        using Weight weight = backend.Upload(source, [1.5f]);
        foreach (int tokens in counts)
        {
            Tensor input = TestDevice.Tensor(backend, tokens, columns, 5, x[..(tokens * columns)]), y = TestDevice.Tensor(backend, tokens, rows, 2);
            backend.MatMul(input, weight, y);
            float[] ours = TestDevice.Read(backend, y);

            if (UsedBy(source) == GpuFeatures.Half)
            {
                // Halves have 11 bits, and 16 products are added in half: what is summed has errors of either sign.
                double error = 0, size = 0;
                for (int i = 0; i < ours.Length; i++)
                    (error, size) = (error + Math.Pow(ours[i] - expected[i], 2), size + (sizes[i] * sizes[i]));
                Assert.True(error <= 1e-6 * size, $"{source.Name}, {tokens} tokens: {error / size:E2} of the magnitudes' squares");
            }

            // Each of the sum's roundings is at most half a unit of the sum of magnitudes, and decoding adds a few.
            for (int i = 0; i < ours.Length && UsedBy(source) != GpuFeatures.Half; i++)
                Assert.True(Math.Abs(ours[i] - expected[i]) <= (columns + 8) * 6e-8 * sizes[i], $"{source.Name}, {tokens} tokens, value {i}: {ours[i]} instead of {expected[i]} (magnitudes {sizes[i]})");
            input.Buffer.Dispose();
            y.Buffer.Dispose();
            Cases++;
        }
    }

    // What products with a matrix use, which rounds their inputs.
    private GpuFeatures UsedBy(IWeightSource source) => source.InputScale != 0 ? GpuFeatures.None : backend.Using(PlaneReader.Of(source).Planes, source.Columns, isTiled);

    // Rows of what products read, too, are decoded on the device.
    private void Rows(IWeightSource source)
    {
        int columns = source.Columns;
        int[] ids = [.. Enumerable.Range(0, IsSmall ? 3 : 19).Select(i => i * 5 % source.Rows), source.Rows - 1];
        using Weight weight = backend.Upload(source, [1.5f]);
        backend.Prepare(weight);
        Tensor y = TestDevice.Tensor(backend, ids.Length, columns, 3);
        backend.GetRows(weight, ids, y);
        float[] ours = TestDevice.Read(backend, y), row = new float[columns];
        for (int i = 0; i < ids.Length; i++)
        {
            source.CopyRow(ids[i], row);
            float largest = row.Max(value => MathF.Abs(value));
            for (int c = 0; c < columns; c++)
                Assert.True(Math.Abs(ours[(i * columns) + c] - (1.5f * row[c])) <= 1e-6f * largest, $"{source.Name}, row {ids[i]}, column {c}: {ours[(i * columns) + c]} instead of {1.5f * row[c]}");
        }

        y.Buffer.Dispose();
        Cases++;
    }

    /// <summary>The highest values of rows, many of them equal, some of them no numbers.</summary>
    public void Choices()
    {
        foreach ((int rows, int columns, int k) in IsSmall ? [(2, 37, 3), (1, 600, 2)] : new[] { (1, 1, 1), (3, 31, 31), (2, 3000, 1), (1, 49152, 1), (2, 20001, 40), (5, 577, 5), (2, 513, 300) })
        {
            foreach (bool isDamaged in (bool[])[false, true])
            {
                float[] x = [.. TestDevice.Random(new Random(columns), rows * columns).Select(value => MathF.Round(value * 64) / 64)];
                if (isDamaged)
                {
                    x[columns / 2] = float.NaN;
                    x[columns - 1] = float.PositiveInfinity;
                    x.AsSpan((rows - 1) * columns).Fill(float.NegativeInfinity);
                    x[^1] = 1;
                }

                int[] theirs = [];
                Compare(0, $"the {k} highest of [{rows} x {columns}]", by =>
                {
                    Tensor input = TestDevice.Tensor(by, rows, columns, 2, x), ids = TestDevice.Tensor(by, rows, k, 1, null, ElementType.Int32), values = TestDevice.Tensor(by, rows, k, 3);
                    by.TopK(input, ids, values);
                    int[] chosen = TestDevice.ReadIds(by, ids);
                    if (by == _reference) theirs = chosen;
                    else Assert.Equal(theirs, chosen);
                    return [.. TestDevice.Read(by, values).Select(value => float.IsInfinity(value) ? MathF.CopySign(1e9f, value) : value)];
                });
                if (isDamaged) continue;
                for (int t = 0; t < rows; t++)
                    Assert.Equal(Enumerable.Range(0, columns).OrderByDescending(c => x[(t * columns) + c]).Take(k), theirs[(t * k)..((t + 1) * k)]);
            }
        }
    }

    /// <summary>Activations rounded by the scale of a weight's inputs, with the bits of the reference: halves between two multiples, both ends, what is far beyond them, denormal, infinite or no number.</summary>
    public void RoundedInputs(GpuBackend device)
    {
        foreach (float scale in IsSmall ? [0.75f] : (float[])[1, 0.75f, 1.1f, 1 / 127f, 3e-5f, 1e6f, InputRounding.LeastScale, InputRounding.MostScale])
        {
            float[] multiples =
            [
                0, -0f, 0.5f, -0.5f, 1.5f, -1.5f, 2.5f, 126.5f, -126.5f, 127, -127, 127.4f, 127.5f, -127.5f, 128, -200, 1e10f, -1e30f, 1e-40f,
                MathF.BitDecrement(0.5f), MathF.BitIncrement(0.5f), MathF.BitDecrement(1.5f), MathF.BitIncrement(126.5f), .. Enumerable.Range(-130, 261).Select(i => i + 0.5f),
            ];
            float[] values =
            [
                .. multiples.Select(multiple => multiple * scale), .. multiples.Select(multiple => MathF.BitIncrement(multiple * scale)), .. multiples.Select(multiple => MathF.BitDecrement(multiple * scale)),
                float.NaN, float.PositiveInfinity, float.NegativeInfinity, float.MaxValue, float.MinValue, float.Epsilon, -float.Epsilon, .. TestDevice.Random(new Random(3), 500).Select(value => value * 50 * scale),
            ];
            foreach ((int rows, int columns) in Shapes)
            {
                float[] x = [.. Enumerable.Range(0, rows * columns).Select(i => values[i * 7 % values.Length])], expected = new float[x.Length];
                using Weight weight = backend.Upload(new TestWeights(BlockFormats.F32, 2, columns, 1) { InputScale = scale });
                Tensor input = TestDevice.Tensor(backend, rows, columns, 3, x);
                float[] ours = TestDevice.Read(backend, device.Rounded(input, weight));
                InputRounding.Round(x, scale, expected);
                for (int i = 0; i < ours.Length; i++)
                    Assert.True(BitConverter.SingleToInt32Bits(ours[i]) == BitConverter.SingleToInt32Bits(expected[i]) || (float.IsNaN(ours[i]) && float.IsNaN(expected[i])), $"{x[i]:R} by {scale:R}: {ours[i]:R} instead of {expected[i]:R}");

                // The activations themselves stay what they are.
                Assert.Equal(x, TestDevice.Read(backend, input));
                input.Buffer.Dispose();
                Cases++;
            }
        }
    }

    /// <summary>Products with experts whose weights have a scale of their inputs.</summary>
    public void RoundedExperts() => Experts(BlockFormats.F16, inputScale: 0.02f);

    /// <summary>Products with experts.</summary>
    public void Experts(BlockFormat format, float inputScale = 0)
    {
        int columns = format.BlockValues == 1 ? 45 : format.BlockValues, rows = IsSmall ? 5 : 37;
        TestWeights source = new(format, rows, columns, 3, matrices: 5) { InputScale = inputScale };
        float[] scales = [1, 0.5f, 2, 1, 3];
        foreach (int tokens in IsSmall ? [2, 4] : (int[])[1, 2, 7, 80])
        {
            foreach (bool isShared in (bool[])[true, false])
            {
                int[] ids = [.. Enumerable.Range(0, tokens * 3).Select(i => ((i * 3) + 1) % 5)];
                float[] x = TestDevice.Random(new Random(tokens), (isShared ? tokens : tokens * 3) * columns);
                Compare(UsedBy(source) == GpuFeatures.Half ? 2e-2 : columns * 6e-8 * 3, $"{format}, {tokens} tokens", by =>
                {
                    using Weight weight = by.Upload(source, scales);
                    Tensor input = TestDevice.Tensor(by, isShared ? tokens : tokens * 3, columns, 1, by == _reference ? RoundedActivations.Of(UsedBy(source), x) : x), y = TestDevice.Tensor(by, tokens * 3, rows, 1);
                    by.MatMulExperts(input, weight, TestDevice.Ids(by, tokens, 3, ids), y);
                    return TestDevice.Read(by, y);
                });
            }
        }
    }

    /// <summary>Norms of rows and of groups.</summary>
    public void Norms()
    {
        foreach (NormKind kind in Enum.GetValues<NormKind>())
        {
            foreach ((int rows, int columns) in Shapes)
            {
                float[] x = [.. TestDevice.Random(new Random(columns), rows * columns).Select(value => value + 1)];
                foreach ((int size, int gains, int biases) in columns % 3 == 0 ? [(0, 1, 0), (columns / 3, 1, 2), (columns / 3, 2, 1)] : new[] { (0, 0, 0), (0, 1, 1) })
                {
                    NormOptions options = new(kind, 1e-3f, size);
                    Compare(2e-5, $"{options} of [{rows} x {columns}], gain {gains}, bias {biases}", by =>
                    {
                        using Weight? gain = Vector(by, gains, size, columns, 1), bias = Vector(by, biases, size, columns, 2);
                        Tensor input = TestDevice.Tensor(by, rows, columns, 2, x), y = TestDevice.Tensor(by, rows, columns, 1);
                        by.Norm(input, options, gain, bias, y);
                        by.Norm(input, options, gain, bias, input);
                        Assert.Equal(TestDevice.Read(by, y), TestDevice.Read(by, input));
                        return TestDevice.Read(by, y);
                    });
                }
            }
        }

        static Weight? Vector(Backend by, int kind, int size, int columns, int seed) =>
            kind == 0 ? null : by.Upload(new TestWeights(seed == 1 ? BlockFormats.F32 : BlockFormats.F16, 1, kind == 1 && size > 0 ? size : columns, seed), [20f]);
    }

    /// <summary>Rotations, over the ends of the pieces of their tables.</summary>
    public void Ropes()
    {
        foreach (RopePairing pairing in Enum.GetValues<RopePairing>())
        {
            foreach ((int tokens, int heads, int size, int pairs, int offset, int position) in IsSmall
                ? [(2, 2, 8, 3, 1, 255)]
                : new[] { (1, 1, 2, 1, 0, 0), (3, 2, 64, 32, 0, 1000), (5, 3, 80, 16, 0, 254), (300, 1, 64, 20, 24, 250), (2, 9, 34, 17, 0, 8191), (1, 1, 4, 0, 0, 3) })
            {
                RopeTable rope = new(pairing, [.. Enumerable.Range(0, pairs).Select(i => Math.Pow(10000, -i / 32.0))], 1.1f, offset);
                float[] x = TestDevice.Random(new Random(size), tokens * heads * size);
                Compare(Elementary, $"{pairing} [{tokens} x {heads} x {size}]", by =>
                {
                    Tensor y = TestDevice.Tensor(by, tokens, heads * size, 3, x);
                    by.Rope(y, size, position, rope);
                    return TestDevice.Read(by, y);
                });
            }
        }
    }

    /// <summary>What is done to single values.</summary>
    public void Elements()
    {
        foreach ((int rows, int columns) in Shapes)
        {
            float[] a = [.. TestDevice.Random(new Random(columns), rows * columns).Select(value => value * 4)], b = TestDevice.Random(new Random(rows), rows * columns);
            foreach (Activation activation in Enum.GetValues<Activation>())
            {
                if (activation != Activation.SwigluOai)
                    Unary($"{activation}", (by, x, y) => by.Activate(activation, x, y));
                Binary($"gated {activation}", (by, x, z, y) => by.GatedActivation(activation, x, z, y));
            }

            Unary("scale", (by, x, y) => by.Scale(x, 1.7f, y));
            Unary("clamp", (by, x, y) => by.Clamp(x, 1.3f, y));
            Unary("soft cap", (by, x, y) => by.SoftCap(x, 2.5f, y));
            Unary("copy", (by, x, y) => by.Copy(x, y), isInPlace: false);
            Binary("add", (by, x, z, y) => by.Add(x, z, y));
            Compare(Elementary, $"bias [{rows} x {columns}]", by =>
            {
                using Weight bias = by.Upload(new TestWeights(BlockFormats.F16, 1, columns, 7), [0.5f]);
                Tensor x = TestDevice.Tensor(by, rows, columns, 1, a);
                by.AddBias(x, bias);
                return TestDevice.Read(by, x);
            });

            void Unary(string name, Action<Backend, Tensor, Tensor> run, bool isInPlace = true) => Compare(Elementary, $"{name} [{rows} x {columns}]", by =>
            {
                Tensor x = TestDevice.Tensor(by, rows, columns, 2, a), y = TestDevice.Tensor(by, rows, columns, 1);
                run(by, x, y);
                if (isInPlace)
                {
                    run(by, x, x);
                    Assert.Equal(TestDevice.Read(by, y), TestDevice.Read(by, x));
                }

                return TestDevice.Read(by, y);
            });

            void Binary(string name, Action<Backend, Tensor, Tensor, Tensor> run) => Compare(Elementary, $"{name} [{rows} x {columns}]", by =>
            {
                Tensor x = TestDevice.Tensor(by, rows, columns, 2, a), z = TestDevice.Tensor(by, rows, columns, 0, b), y = TestDevice.Tensor(by, rows, columns, 1);
                run(by, x, z, y);
                run(by, x, z, x);
                Assert.Equal(TestDevice.Read(by, y), TestDevice.Read(by, x));
                return TestDevice.Read(by, y);
            });
        }
    }

    /// <summary>Experts: their choice, their biases, and their sum.</summary>
    public void Routes()
    {
        foreach (GatingFunction gating in Enum.GetValues<GatingFunction>())
        {
            foreach ((int tokens, int experts, int used, int groups, int groupsUsed) in IsSmall
                ? [(2, 8, 2, 4, 2)]
                : new[] { (1, 1, 1, 1, 1), (3, 8, 2, 0, 0), (33, 60, 8, 1, 1), (5, 32, 4, 8, 3), (9, 6, 3, 6, 4), (2, 256, 8, 8, 4) })
            {
                foreach (bool isNormalized in (bool[])[false, true])
                {
                    Routing routing = new(used, isNormalized, 2.5f, gating) { Groups = groups, GroupsUsed = groupsUsed };

                    // Few different values, so that many are equal.
                    float[] logits = [.. TestDevice.Random(new Random(experts), tokens * experts).Select(value => MathF.Round(value * 4) / 4)];
                    int[] theirs = [];
                    Compare(Elementary, $"{routing} of {experts}", by =>
                    {
                        using Weight? bias = isNormalized ? by.Upload(new TestWeights(BlockFormats.F32, 1, experts, 11)) : null;
                        Tensor x = TestDevice.Tensor(by, tokens, experts, 2, logits), ids = TestDevice.Tensor(by, tokens, used, 1, null, ElementType.Int32), weights = TestDevice.Tensor(by, tokens, used, 3);
                        by.Route(x, routing, bias, ids, weights);
                        int[] chosen = TestDevice.ReadIds(by, ids);
                        if (by == _reference) theirs = chosen;
                        else Assert.Equal(theirs, chosen);
                        return TestDevice.Read(by, weights);
                    });
                }
            }
        }

        DamagedRoutes();
        foreach ((int tokens, int used, int columns) in IsSmall ? [(2, 2, 5)] : new[] { (1, 1, 1), (3, 2, 31), (7, 8, 577), (130, 3, 64) })
        {
            float[] x = TestDevice.Random(new Random(used), tokens * used * columns), w = TestDevice.Random(new Random(tokens), tokens * used);
            int[] ids = [.. Enumerable.Range(0, tokens * used).Select(i => i * 5 % 4)];
            Compare(Elementary, $"combine [{tokens} x {used} x {columns}]", by =>
            {
                using Weight biases = by.Upload(new TestWeights(BlockFormats.F32, 4, columns, 2));
                Tensor values = TestDevice.Tensor(by, tokens * used, columns, 2, x), y = TestDevice.Tensor(by, tokens, columns, 1);
                by.AddExpertBias(values, biases, TestDevice.Ids(by, tokens, used, ids));
                by.Combine(values, TestDevice.Tensor(by, tokens, used, 1, w), y);
                return TestDevice.Read(by, y);
            });
        }
    }

    // Logits that are no finite numbers choose the same experts as in the reference, and make the same weights NaN.
    private void DamagedRoutes()
    {
        foreach (GatingFunction gating in Enum.GetValues<GatingFunction>())
        {
            foreach ((int experts, int used, int groups, int groupsUsed) in IsSmall ? [(8, 2, 4, 1)] : new[] { (8, 2, 0, 0), (8, 2, 4, 1), (32, 4, 8, 3), (6, 3, 6, 4) })
            {
                // A token each: an infinite rank beside none that is a number in every group; all NaN; all infinite; all minus infinity; a mixture; a single NaN.
                int size = Math.Max(1, experts / Math.Max(1, groups));
                Func<int, float>[] tokens =
                [
                    e => e % size == 0 ? float.PositiveInfinity : float.NaN, e => e % size == 0 ? float.PositiveInfinity : float.NegativeInfinity, _ => float.NaN, _ => float.PositiveInfinity, _ => float.NegativeInfinity,
                    e => (e * 5 % 7) switch { 0 => float.NaN, 1 => float.PositiveInfinity, 2 => float.NegativeInfinity, var other => other }, e => e == experts / 2 ? float.NaN : e % 3,
                ];
                float[] logits = [.. tokens.SelectMany(token => Enumerable.Range(0, experts).Select(token))];
                foreach (bool isNormalized in (bool[])[false, true])
                {
                    Routing routing = new(used, isNormalized, 2.5f, gating) { Groups = groups, GroupsUsed = groupsUsed };
                    int[] theirs = [];
                    Compare(Elementary, $"{routing} of {experts} that are no numbers", by =>
                    {
                        Tensor x = TestDevice.Tensor(by, tokens.Length, experts, 2, logits), ids = TestDevice.Tensor(by, tokens.Length, used, 1, null, ElementType.Int32), weights = TestDevice.Tensor(by, tokens.Length, used, 3);
                        by.Route(x, routing, null, ids, weights);
                        int[] chosen = TestDevice.ReadIds(by, ids);
                        if (by == _reference) theirs = chosen;
                        else Assert.Equal(theirs, chosen);
                        Assert.All(chosen, id => Assert.InRange(id, 0, experts - 1));
                        return [.. TestDevice.Read(by, weights).Select(weight => float.IsNaN(weight) ? 1e6f : float.IsInfinity(weight) ? MathF.CopySign(1e9f, weight) : weight)];
                    });
                }
            }
        }
    }

    /// <summary>Keys and values, and attention over them, in one format.</summary>
    public void Attention(BlockFormat format)
    {
        // The last positions of a context are asked for, all at once or in pieces; a window keeps few of the others.
        foreach ((int heads, int kvHeads, int key, int value) in HeadShapes)
        {
            if (key % format.BlockValues != 0 || value % format.BlockValues != 0) continue;
            foreach ((int context, int tokens) in IsSmall ? [(5, 2)] : new[] { (1, 1), (7, 7), (65, 1), (130, 3), (333, 33) })
            {
                foreach ((int window, bool isChunked) in IsSmall ? [(3, false)] : new[] { (0, false), (33, false), (50, true) })
                {
                    foreach (int trait in IsSmall ? [4] : (int[])[0, 1, 2, 3, 4])
                    {
                        AttentionOptions options = new(heads, 0.3f)
                        {
                            SoftCap = trait is 1 or 4 ? 3 : 0,
                            AlibiBias = trait is 2 or 4 ? 8 : 0,
                            Temperature = trait == 3 ? new QueryTemperature(0.1f, 16, 1) : default,
                        };
                        Attention(format, new KvLayer(kvHeads, key, value, window, isChunked), context, tokens, options, hasSinks: trait is 3 or 4);
                    }
                }
            }
        }
    }

    private void Attention(BlockFormat format, KvLayer layer, int context, int tokens, AttentionOptions options, bool hasSinks)
    {
        Random random = new(context);
        float[] keys = TestDevice.Random(random, context * layer.Heads * layer.KeySize), values = TestDevice.Random(random, context * layer.Heads * layer.ValueSize);
        float[] queries = TestDevice.Random(random, tokens * options.Heads * layer.KeySize);
        byte[][] rows = [];
        Compare(2e-5, $"{format} {layer}, {tokens} of {context}, {options}", by =>
        {
            using KvCache cache = by.AllocateKv([layer, layer], context + 3, format, Math.Max(tokens, 16));
            using Weight? sinks = hasSinks ? by.Upload(new TestWeights(BlockFormats.F32, 1, options.Heads, 5)) : null;
            for (int first = 0; first < context; first += 16)
            {
                int count = Math.Min(16, context - first), k = layer.Heads * layer.KeySize, v = layer.Heads * layer.ValueSize;
                by.StoreKv(TestDevice.Tensor(by, count, k, 1, keys[(first * k)..((first + count) * k)]), TestDevice.Tensor(by, count, v, 2, values[(first * v)..((first + count) * v)]), cache, 1, first);
            }

            byte[][] last = [new byte[cache.RowBytes(1, false)], new byte[cache.RowBytes(1, true)]];
            cache.ReadRow(1, false, context - 1, last[0]);
            cache.ReadRow(1, true, context - 1, last[1]);
            if (by == _reference) rows = last;
            else Assert.Equal(rows, last);
            Tensor y = TestDevice.Tensor(by, tokens, options.Heads * layer.ValueSize, 1);

            by.Attention(TestDevice.Tensor(by, tokens, options.Heads * layer.KeySize, 2, queries), cache, 1, context - tokens, options with { Sinks = sinks }, y);
            return TestDevice.Read(by, y);
        });
    }

    /// <summary>Recurrences.</summary>
    public void Recurrences()
    {
        foreach ((int tokens, int channels, int taps) in IsSmall ? [(2, 5, 3)] : new[] { (1, 1, 1), (1, 577, 4), (9, 31, 4), (2, 64, 3), (130, 33, 4), (3, 7, 9) })
        {
            foreach (Activation activation in (Activation[])[Activation.Identity, Activation.Silu])
            {
                float[] x = TestDevice.Random(new Random(channels), tokens * channels), before = TestDevice.Random(new Random(taps), (taps - 1) * channels);
                Compare(2e-5, $"convolution [{tokens} x {channels}], {taps} taps", by =>
                {
                    using Weight kernel = by.Upload(new TestWeights(BlockFormats.F32, channels, taps, 3)), bias = by.Upload(new TestWeights(BlockFormats.F32, 1, channels, 4));
                    Tensor state = TestDevice.Tensor(by, taps - 1, channels, 1, before), y = TestDevice.Tensor(by, tokens, channels, 2);
                    by.Convolve(TestDevice.Tensor(by, tokens, channels, 3, x), kernel, activation == Activation.Silu ? bias : null, activation, state, y);
                    return [.. TestDevice.Read(by, y), .. TestDevice.Read(by, state)];
                });
            }
        }

        foreach ((int tokens, int heads, int groups, int size, int states) in IsSmall ? [(2, 2, 1, 3, 4)] : new[] { (1, 1, 1, 1, 1), (5, 8, 2, 16, 16), (33, 4, 4, 31, 24), (2, 96, 1, 1, 16) })
        {
            foreach (bool isRateAHead in (bool[])[true, false])
            {
                Random random = new(heads);
                float[] x = TestDevice.Random(random, tokens * heads * size), steps = [.. TestDevice.Random(random, tokens * heads).Select(MathF.Abs)];
                float[] b = TestDevice.Random(random, tokens * groups * states), c = TestDevice.Random(random, tokens * groups * states), before = TestDevice.Random(random, heads * size * states);
                Compare(3e-5, $"scan [{tokens} x {heads} x {size}], {states} states", by =>
                {
                    using Weight rates = by.Upload(new TestWeights(BlockFormats.F32, heads, isRateAHead ? 1 : states, 1), [-1f]), skips = by.Upload(new TestWeights(BlockFormats.F32, 1, heads, 2));
                    Tensor state = TestDevice.Tensor(by, heads * size, states, 1, before), y = TestDevice.Tensor(by, tokens, heads * size, 1);
                    by.StateSpaceScan(
                        TestDevice.Tensor(by, tokens, heads * size, 2, x), TestDevice.Tensor(by, tokens, heads, 1, steps), rates,
                        TestDevice.Tensor(by, tokens, groups * states, 1, b), TestDevice.Tensor(by, tokens, groups * states, 0, c), skips, state, y);
                    return [.. TestDevice.Read(by, y), .. TestDevice.Read(by, state)];
                }, isRelativeToLargest: true);
            }
        }

        foreach ((int tokens, int heads, int keyHeads, int keySize, int valueSize) in IsSmall ? [(2, 2, 1, 4, 3)] : new[] { (1, 1, 1, 1, 1), (5, 4, 2, 16, 24), (17, 8, 8, 31, 16), (3, 2, 1, 128, 128) })
        {
            foreach (bool isInterleaved in (bool[])[true, false])
            {
                foreach (bool isStepAHead in (bool[])[true, false])
                {
                    Random random = new(keySize);
                    float[] q = Unit(tokens * keyHeads), k = Unit(tokens * keyHeads), v = TestDevice.Random(random, tokens * heads * valueSize), betas = [.. TestDevice.Random(random, tokens * heads).Select(value => 1 / (1 + MathF.Exp(-value)))];
                    float[] steps = [.. TestDevice.Random(random, tokens * heads * (isStepAHead ? 1 : keySize)).Select(value => MathF.Abs(value))], before = TestDevice.Random(random, heads * valueSize * keySize);
                    Compare(3e-5, $"delta rule [{tokens} x {heads}/{keyHeads} x {keySize}/{valueSize}]", by =>
                    {
                        using Weight rates = by.Upload(new TestWeights(BlockFormats.F32, 1, heads, 1), [-0.1f]);
                        Tensor state = TestDevice.Tensor(by, heads * valueSize, keySize, 1, before), y = TestDevice.Tensor(by, tokens, heads * valueSize, 1);
                        by.DeltaRule(
                            TestDevice.Tensor(by, tokens, keyHeads * keySize, 1, q), TestDevice.Tensor(by, tokens, keyHeads * keySize, 2, k), TestDevice.Tensor(by, tokens, heads * valueSize, 0, v),
                            TestDevice.Tensor(by, tokens, heads * (isStepAHead ? 1 : keySize), 1, steps), rates, TestDevice.Tensor(by, tokens, heads, 1, betas), isInterleaved, state, y);
                        return [.. TestDevice.Read(by, y), .. TestDevice.Read(by, state)];
                    }, isRelativeToLargest: true);

                    // Keys are unit vectors, as models make them, so that the state stays bounded.
                    float[] Unit(int count)
                    {
                        float[] all = TestDevice.Random(random, count * keySize);
                        for (int i = 0; i < count; i++)
                        {
                            float length = MathF.Sqrt(all.AsSpan(i * keySize, keySize).ToArray().Sum(value => value * value));
                            for (int j = 0; j < keySize; j++)
                                all[(i * keySize) + j] /= length;
                        }

                        return all;
                    }
                }
            }
        }
    }

    private void Compare(double tolerance, string name, Func<Backend, float[]> run, bool isRelativeToLargest = false)
    {
        float[] theirs = run(_reference), ours = run(backend);
        Assert.Equal(theirs.Length, ours.Length);
        double largest = isRelativeToLargest ? theirs.Max(value => Math.Abs((double)value)) : 0;
        for (int i = 0; i < ours.Length; i++)
            Assert.True(Math.Abs((double)ours[i] - theirs[i]) <= tolerance * Math.Max(largest, 1 + Math.Abs((double)theirs[i])), $"{name}, value {i}: {ours[i]} instead of {theirs[i]}");
        Cases++;
    }
}
