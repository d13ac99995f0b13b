using Nibble.Core.Formats;

namespace Nibble.Core.Compute;

/// <summary>Every operation as a plain loop: the oracle of every other backend, and the place to read what an operation means.</summary>
/// <remarks>Rows of weights are decoded once a call. Sums and functions are computed in float64, so neither their order nor a rounding on the way shows in float32 results.</remarks>
public sealed class ReferenceBackend : Backend
{
    /// <inheritdoc/>
    public override string Name => "reference";

    /// <inheritdoc/>
    public override string Description => "plain loops on one thread";

    /// <inheritdoc/>
    public override long AvailableBytes
    {
        get
        {
            GCMemoryInfo memory = GC.GetGCMemoryInfo();
            return memory.TotalAvailableMemoryBytes;
        }
    }

    /// <inheritdoc/>
    public override bool Supports(Operation operation, BlockFormat format) =>
        operation == Operation.KvCache ? KvCache.Formats.Contains(format) : !BlockFormats.Integers.Contains(format);

    /// <inheritdoc/>
    public override string KernelName(Operation operation, BlockFormat format) => $"{format.Name} decoded to float32, plain loop";

    /// <inheritdoc/>
    public override long UploadBytes(IWeightSource source) => 0;

    /// <inheritdoc/>
    public override Weight Upload(IWeightSource source, ReadOnlySpan<float> scales = default) => new HostWeight(source, scales);

    /// <inheritdoc/>
    public override Tensor Allocate(ElementType type, int rows, int columns) => HostTensorBuffer.NewTensor(type, rows, columns);

    /// <inheritdoc/>
    public override KvCache AllocateKv(ReadOnlySpan<KvLayer> layers, int capacity, BlockFormat format, int batch) =>
        new HostKvCache(layers, capacity, format, batch);

    /// <inheritdoc/>
    public override void GetRows(Weight table, ReadOnlySpan<int> rows, Tensor y)
    {
        Shapes.CheckGetRows(table, rows, y);
        HostWeight weight = HostWeight.Of(table);
        for (int i = 0; i < rows.Length; i++)
        {
            Span<float> values = HostTensorBuffer.Row(y, i);
            weight.CopyRow(rows[i], values);
            if (weight.ScaleOf(0) != 1)
                for (int c = 0; c < values.Length; c++) values[c] *= weight.ScaleOf(0);
        }
    }

    /// <inheritdoc/>
    public override void MatMul(Tensor x, Weight weight, Tensor y)
    {
        Shapes.CheckMatMul(x, weight, y);
        HostWeight matrix = HostWeight.Of(weight);
        float[] row = new float[weight.Columns];
        float[][] inputs = [.. Enumerable.Range(0, x.Rows).Select(t => Rounded(HostTensorBuffer.Row(x, t), weight))];
        float scale = matrix.ScaleOf(0);
        for (int r = 0; r < weight.Rows; r++)
        {
            matrix.CopyRow(r, row);
            for (int t = 0; t < x.Rows; t++)
                HostTensorBuffer.Row(y, t)[r] = (float)(scale * Dot(row, inputs[t]));
        }
    }

    /// <inheritdoc/>
    public override void MatMulExperts(Tensor x, Weight weight, Tensor experts, Tensor y)
    {
        Shapes.CheckMatMulExperts(x, weight, experts, y);
        HostWeight matrices = HostWeight.Of(weight);
        int used = experts.Columns;
        bool shared = x.Rows == experts.Rows;
        float[] row = new float[weight.Columns];
        for (int t = 0; t < experts.Rows; t++)
        {
            for (int i = 0; i < used; i++)
            {
                int expert = HostTensorBuffer.IntRow(experts, t)[i];
                float[] input = Rounded(HostTensorBuffer.Row(x, shared ? t : (t * used) + i), weight);
                Span<float> output = HostTensorBuffer.Row(y, (t * used) + i);
                for (int r = 0; r < weight.Rows; r++)
                {
                    matrices.CopyRow(((long)expert * weight.Rows) + r, row);
                    output[r] = (float)(matrices.ScaleOf(expert) * Dot(row, input));
                }
            }
        }
    }

    /// <inheritdoc/>
    public override void Norm(Tensor x, in NormOptions options, Weight? gain, Weight? bias, Tensor y)
    {
        int size = Shapes.CheckNorm(x, options, gain, bias, y);
        float[]? factors = gain is null ? null : Vector(gain), terms = bias is null ? null : Vector(bias);
        for (int t = 0; t < x.Rows; t++)
        {
            for (int start = 0; start < x.Columns; start += size)
            {
                ReadOnlySpan<float> input = HostTensorBuffer.Row(x, t).Slice(start, size);
                Span<float> output = HostTensorBuffer.Row(y, t).Slice(start, size);
                double sum = 0, squares = 0;
                if (options.Kind == NormKind.Layer)
                    foreach (float value in input)
                        sum += value;

                // Rounded where llama.cpp rounds: one factor holds for a whole row, and behind it HalfGelu may make a step of a half out of its last bit.
                float mean = (float)(sum / size);
                foreach (float value in input)
                    squares += (value - mean) * (value - mean);
                float factor = options.Kind == NormKind.Euclidean ? 1 / MathF.Max(MathF.Sqrt((float)squares), options.Epsilon) : 1 / MathF.Sqrt((float)(squares / size) + options.Epsilon);
                for (int c = 0; c < size; c++)
                {
                    float value = (input[c] - mean) * factor;
                    if (factors is not null) value *= factors[factors.Length == size ? c : start + c];
                    if (terms is not null) value += terms[terms.Length == size ? c : start + c];
                    output[c] = value;
                }
            }
        }
    }

    /// <inheritdoc/>
    public override void Rope(Tensor x, int headSize, int firstPosition, RopeTable rope)
    {
        Shapes.CheckRope(x, headSize, firstPosition, rope);
        int pairs = rope.Pairs;
        float[] cosine = new float[pairs], sine = new float[pairs];
        for (int t = 0; t < x.Rows; t++)
        {
            rope.Rotation(firstPosition + t, cosine, sine);
            for (int start = 0; start < x.Columns; start += headSize)
            {
                Span<float> head = HostTensorBuffer.Row(x, t).Slice(start, headSize)[rope.Offset..];
                for (int i = 0; i < pairs; i++)
                {
                    (int a, int b) = rope.Pairing == RopePairing.Adjacent ? (2 * i, (2 * i) + 1) : (i, i + pairs);
                    (head[a], head[b]) = ((head[a] * cosine[i]) - (head[b] * sine[i]), (head[a] * sine[i]) + (head[b] * cosine[i]));
                }
            }
        }
    }

    /// <inheritdoc/>
    public override void StoreKv(Tensor keys, Tensor values, KvCache cache, int layer, int firstPosition)
    {
        Shapes.CheckStoreKv(keys, values, cache, layer, firstPosition);
        HostKvCache memory = HostKvCache.Of(cache);
        for (int t = 0; t < keys.Rows; t++)
        {
            Store(HostTensorBuffer.Row(keys, t), cache.Layers[layer].KeySize, memory.Row(layer, false, firstPosition + t));
            Store(HostTensorBuffer.Row(values, t), cache.Layers[layer].ValueSize, memory.Row(layer, true, firstPosition + t));
        }

        void Store(ReadOnlySpan<float> heads, int size, Span<byte> row)
        {
            float[] rotated = heads.ToArray();
            if (cache.IsRotated) WalshHadamard.Rotate(rotated, size);
            cache.Format.Encode(rotated, row);
        }
    }

    /// <inheritdoc/>
    public override void Attention(Tensor queries, KvCache cache, int layer, int firstPosition, in AttentionOptions options, Tensor y)
    {
        Shapes.CheckAttention(queries, cache, layer, firstPosition, options, y);
        HostKvCache memory = HostKvCache.Of(cache);
        KvLayer shape = cache.Layers[layer];
        int start = shape.FirstVisible(firstPosition), positions = firstPosition + queries.Rows - start;
        float[] keys = DecodePositions(memory, layer, false, start, positions);
        float[] values = DecodePositions(memory, layer, true, start, positions);
        float[]? sinks = options.Sinks is null ? null : Vector(options.Sinks);
        double[] scores = new double[positions + 1];
        for (int t = 0; t < queries.Rows; t++)
        {
            int position = firstPosition + t, first = shape.FirstVisible(position);
            float scale = options.Scale * options.Temperature.At(position);
            Span<double> weights = scores.AsSpan(0, position + 1 - first + (sinks is null ? 0 : 1));
            int visible = position + 1 - first;
            for (int h = 0; h < options.Heads; h++)
            {
                int kvHead = h / (options.Heads / shape.Heads);
                float slope = options.Slope(h);
                ReadOnlySpan<float> query = HostTensorBuffer.Row(queries, t).Slice(h * shape.KeySize, shape.KeySize);
                for (int p = 0; p < visible; p++)
                {
                    double score = scale * Dot(query, keys.AsSpan((((first - start + p) * shape.Heads) + kvHead) * shape.KeySize, shape.KeySize));
                    if (options.SoftCap > 0) score = options.SoftCap * Math.Tanh(score / options.SoftCap);
                    weights[p] = score - (slope * (position - first - p));
                }

                if (sinks is not null) weights[visible] = sinks[h];
                Softmax(weights);
                Span<float> output = HostTensorBuffer.Row(y, t).Slice(h * shape.ValueSize, shape.ValueSize);
                for (int i = 0; i < output.Length; i++)
                {
                    double sum = 0;
                    for (int p = 0; p < visible; p++)
                        sum += weights[p] * values[((((first - start + p) * shape.Heads) + kvHead) * shape.ValueSize) + i];
                    output[i] = (float)sum;
                }
            }
        }
    }

    /// <inheritdoc/>
    public override void GatedActivation(Activation activation, Tensor gate, Tensor up, Tensor y)
    {
        Shapes.CheckSame(gate, up, y);
        for (int t = 0; t < gate.Rows; t++)
        {
            ReadOnlySpan<float> g = HostTensorBuffer.Row(gate, t), u = HostTensorBuffer.Row(up, t);
            Span<float> output = HostTensorBuffer.Row(y, t);
            for (int c = 0; c < g.Length; c++)
                output[c] = (float)(activation == Activation.SwigluOai ? SwigluOai(g[c], u[c]) : Apply(activation, g[c]) * u[c]);
        }
    }

    /// <inheritdoc/>
    public override void Activate(Activation activation, Tensor x, Tensor y)
    {
        Shapes.CheckActivate(activation, x, y);
        Map(x, y, value => Apply(activation, value));
    }

    /// <inheritdoc/>
    public override void Clamp(Tensor x, float limit, Tensor y)
    {
        Shapes.CheckSame(x, x, y);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(limit);
        Map(x, y, value => Math.Clamp(value, -limit, limit));
    }

    /// <inheritdoc/>
    public override void SoftCap(Tensor x, float cap, Tensor y)
    {
        Shapes.CheckSame(x, x, y);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(cap);
        Map(x, y, value => cap * Math.Tanh(value / cap));
    }

    /// <inheritdoc/>
    public override void Convolve(Tensor x, Weight kernel, Weight? bias, Activation activation, Tensor state, Tensor y)
    {
        Shapes.CheckConvolve(x, kernel, bias, activation, state, y);
        HostWeight kernels = HostWeight.Of(kernel);
        int length = kernel.Columns;
        float[] taps = new float[length], terms = bias is null ? new float[x.Columns] : Vector(bias), line = new float[length - 1 + x.Rows];
        for (int c = 0; c < x.Columns; c++)
        {
            kernels.CopyRow(c, taps);
            for (int i = 0; i < line.Length; i++)
                line[i] = i < length - 1 ? HostTensorBuffer.Row(state, i)[c] : HostTensorBuffer.Row(x, i - (length - 1))[c];
            for (int t = 0; t < x.Rows; t++)
                HostTensorBuffer.Row(y, t)[c] = (float)Apply(activation, terms[c] + (kernels.ScaleOf(0) * Dot(taps, line.AsSpan(t, length))));
            for (int i = 0; i < length - 1; i++)
                HostTensorBuffer.Row(state, i)[c] = line[x.Rows + i];
        }
    }

    /// <inheritdoc/>
    public override void DeltaRule(Tensor queries, Tensor keys, Tensor values, Tensor steps, Weight rates, Tensor betas, bool isInterleaved, Tensor state, Tensor y)
    {
        (int heads, int keyHeads, int keySize, int valueSize) = Shapes.CheckDeltaRule(queries, keys, values, steps, rates, betas, state, y);
        float[] rate = Vector(rates);
        double[] factors = new double[keySize];
        for (int t = 0; t < queries.Rows; t++)
        {
            for (int h = 0; h < heads; h++)
            {
                int keyHead = isInterleaved ? h % keyHeads : h / (heads / keyHeads);
                ReadOnlySpan<float> query = HostTensorBuffer.Row(queries, t).Slice(keyHead * keySize, keySize), key = HostTensorBuffer.Row(keys, t).Slice(keyHead * keySize, keySize);
                ReadOnlySpan<float> step = HostTensorBuffer.Row(steps, t);
                for (int i = 0; i < keySize; i++)
                    factors[i] = Math.Exp((double)rate[h] * step[step.Length == heads ? h : (h * keySize) + i]);
                for (int j = h * valueSize; j < (h + 1) * valueSize; j++)
                {
                    Span<float> row = HostTensorBuffer.Row(state, j);
                    for (int i = 0; i < keySize; i++)
                        row[i] = (float)(row[i] * factors[i]);
                    double delta = HostTensorBuffer.Row(betas, t)[h] * (HostTensorBuffer.Row(values, t)[j] - Dot(row, key));
                    for (int i = 0; i < keySize; i++)
                        row[i] = (float)(row[i] + (delta * key[i]));
                    HostTensorBuffer.Row(y, t)[j] = (float)(Dot(row, query) / Math.Sqrt(keySize));
                }
            }
        }
    }

    /// <inheritdoc/>
    public override void StateSpaceScan(Tensor x, Tensor steps, Weight rates, Tensor inputs, Tensor outputs, Weight skips, Tensor state, Tensor y)
    {
        (int heads, int groups, int headSize, int stateSize) = Shapes.CheckStateSpaceScan(x, steps, rates, inputs, outputs, skips, state, y);
        float[] rate = Vector(rates), skip = Vector(skips);
        for (int t = 0; t < x.Rows; t++)
        {
            for (int h = 0; h < heads; h++)
            {
                double step = HostTensorBuffer.Row(steps, t)[h];
                int group = h / (heads / groups);
                ReadOnlySpan<float> b = HostTensorBuffer.Row(inputs, t).Slice(group * stateSize, stateSize), c = HostTensorBuffer.Row(outputs, t).Slice(group * stateSize, stateSize);
                for (int j = h * headSize; j < (h + 1) * headSize; j++)
                {
                    Span<float> row = HostTensorBuffer.Row(state, j);
                    float value = HostTensorBuffer.Row(x, t)[j];
                    for (int i = 0; i < stateSize; i++)
                        row[i] = (float)((Math.Exp(rate[rate.Length == heads ? h : (h * stateSize) + i] * step) * row[i]) + (step * value * b[i]));
                    HostTensorBuffer.Row(y, t)[j] = (float)(Dot(row, c) + (skip[h] * value));
                }
            }
        }
    }

    /// <inheritdoc/>
    public override void Add(Tensor a, Tensor b, Tensor y)
    {
        Shapes.CheckSame(a, b, y);
        for (int t = 0; t < a.Rows; t++)
        {
            ReadOnlySpan<float> left = HostTensorBuffer.Row(a, t), right = HostTensorBuffer.Row(b, t);
            Span<float> output = HostTensorBuffer.Row(y, t);
            for (int c = 0; c < left.Length; c++)
                output[c] = left[c] + right[c];
        }
    }

    /// <inheritdoc/>
    public override void AddBias(Tensor x, Weight bias)
    {
        Shapes.CheckAddBias(x, bias);
        float[] vector = Vector(bias);
        for (int t = 0; t < x.Rows; t++)
        {
            Span<float> row = HostTensorBuffer.Row(x, t);
            for (int c = 0; c < row.Length; c++)
                row[c] += vector[c];
        }
    }

    /// <inheritdoc/>
    public override void AddExpertBias(Tensor x, Weight biases, Tensor experts)
    {
        Shapes.CheckAddExpertBias(x, biases, experts);
        HostWeight vectors = HostWeight.Of(biases);
        float[] bias = new float[biases.Columns];
        for (int t = 0; t < experts.Rows; t++)
        {
            for (int i = 0; i < experts.Columns; i++)
            {
                vectors.CopyRow(HostTensorBuffer.IntRow(experts, t)[i], bias);
                Span<float> row = HostTensorBuffer.Row(x, (t * experts.Columns) + i);
                for (int c = 0; c < row.Length; c++)
                    row[c] += vectors.ScaleOf(0) * bias[c];
            }
        }
    }

    /// <inheritdoc/>
    public override void Scale(Tensor x, float factor, Tensor y)
    {
        Shapes.CheckSame(x, x, y);
        Map(x, y, value => factor * value);
    }

    /// <inheritdoc/>
    public override void Route(Tensor logits, in Routing routing, Weight? bias, Tensor experts, Tensor weights)
    {
        Shapes.CheckRoute(logits, routing, bias, experts, weights);
        float[] values = new float[logits.Columns], ranks = new float[logits.Columns];
        float[]? terms = bias is null ? null : Vector(bias);
        for (int t = 0; t < logits.Rows; t++)
        {
            HostTensorBuffer.Row(logits, t).CopyTo(values);
            RoutingMath.Gate(routing.Gating, values);
            for (int e = 0; e < ranks.Length; e++)
                ranks[e] = values[e] + (terms is null ? 0 : terms[e]);
            RoutingMath.Choose(routing, ranks, values, HostTensorBuffer.IntRow(experts, t), HostTensorBuffer.Row(weights, t));
        }
    }

    /// <inheritdoc/>
    public override void Combine(Tensor x, Tensor weights, Tensor y)
    {
        Shapes.CheckCombine(x, weights, y);
        for (int t = 0; t < y.Rows; t++)
        {
            Span<float> output = HostTensorBuffer.Row(y, t);
            for (int c = 0; c < output.Length; c++)
            {
                float sum = 0;
                for (int i = 0; i < weights.Columns; i++)
                    sum += HostTensorBuffer.Row(weights, t)[i] * HostTensorBuffer.Row(x, (t * weights.Columns) + i)[c];
                output[c] = sum;
            }
        }
    }

    /// <inheritdoc/>
    public override void Write(ReadOnlySpan<float> values, Tensor y)
    {
        Shapes.CheckCopy(y, values.Length);
        for (int t = 0; t < y.Rows; t++)
            values.Slice(t * y.Columns, y.Columns).CopyTo(HostTensorBuffer.Row(y, t));
    }

    /// <inheritdoc/>
    public override void Write(ReadOnlySpan<int> values, Tensor y)
    {
        Shapes.CheckCopyIds(y, values.Length);
        for (int t = 0; t < y.Rows; t++)
            values.Slice(t * y.Columns, y.Columns).CopyTo(HostTensorBuffer.IntRow(y, t));
    }

    /// <inheritdoc/>
    public override void Copy(Tensor x, Tensor y)
    {
        Shapes.CheckSame(x, x, y);
        Map(x, y, value => value);
    }

    /// <inheritdoc/>
    public override void Read(Tensor x, Span<float> values)
    {
        Shapes.CheckCopy(x, values.Length);
        for (int t = 0; t < x.Rows; t++)
            HostTensorBuffer.Row(x, t).CopyTo(values.Slice(t * x.Columns, x.Columns));
    }

    /// <inheritdoc/>
    public override void Read(Tensor x, Span<int> values)
    {
        Shapes.CheckCopyIds(x, values.Length);
        for (int row = 0; row < x.Rows; row++)
            HostTensorBuffer.IntRow(x, row).CopyTo(values.Slice(row * x.Columns, x.Columns));
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
    }

    // A token's activations as products with a weight take them.
    private static float[] Rounded(ReadOnlySpan<float> x, Weight weight)
    {
        float[] rounded = x.ToArray();
        if (weight.InputScale != 0) InputRounding.Round(x, weight.InputScale, rounded);
        return rounded;
    }

    private static double Dot(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        double sum = 0;
        for (int i = 0; i < a.Length; i++)
            sum += (double)a[i] * b[i];
        return sum;
    }

    private static void Softmax(Span<double> values)
    {
        double highest = double.NegativeInfinity, sum = 0;
        foreach (double value in values)
            highest = Math.Max(highest, value);
        for (int i = 0; i < values.Length; i++)
            sum += values[i] = Math.Exp(values[i] - highest);
        for (int i = 0; i < values.Length; i++)
            values[i] /= sum;
    }

    private static double Apply(Activation activation, double x) => activation switch
    {
        Activation.Identity => x,
        Activation.Silu => x / (1 + Math.Exp(-x)),
        Activation.Gelu => HalfGelu.Of((float)x),
        Activation.Relu => Math.Max(x, 0),
        Activation.ReluSquared => Math.Max(x, 0) * Math.Max(x, 0),
        Activation.Sigmoid => 1 / (1 + Math.Exp(-x)),
        Activation.Softplus => x > 20 ? x : Math.Log(1 + Math.Exp(x)),
        _ => throw new ArgumentOutOfRangeException(nameof(activation), activation, "there is no such activation."),
    };

    private static double SwigluOai(float gate, float up)
    {
        double g = Math.Min(gate, 7), u = Math.Clamp(up, -7, 7);
        return g / (1 + Math.Exp(-1.702f * g)) * (u + 1);
    }

    private static void Map(Tensor x, Tensor y, Func<double, double> function)
    {
        for (int t = 0; t < x.Rows; t++)
        {
            ReadOnlySpan<float> input = HostTensorBuffer.Row(x, t);
            Span<float> output = HostTensorBuffer.Row(y, t);
            for (int c = 0; c < input.Length; c++)
                output[c] = (float)function(input[c]);
        }
    }

    private static float[] Vector(Weight weight)
    {
        HostWeight vector = HostWeight.Of(weight);
        float[] values = new float[weight.Rows * weight.Columns];
        for (int r = 0; r < weight.Rows; r++)
            vector.CopyRow(r, values.AsSpan(r * weight.Columns, weight.Columns));
        for (int i = 0; i < values.Length; i++)
            values[i] *= vector.ScaleOf(0);
        return values;
    }

    private static float[] DecodePositions(HostKvCache cache, int layer, bool values, int first, int positions)
    {
        KvLayer shape = cache.Layers[layer];
        int size = shape.Heads * (values ? shape.ValueSize : shape.KeySize);
        float[] decoded = new float[positions * size];
        for (int p = 0; p < positions; p++)
            cache.Format.Decode(cache.Row(layer, values, first + p), decoded.AsSpan(p * size, size));

        // The rotation is its own inverse: keys and values as they were, but for the rounding.
        if (cache.IsRotated) WalshHadamard.Rotate(decoded, values ? shape.ValueSize : shape.KeySize);
        return decoded;
    }
}
