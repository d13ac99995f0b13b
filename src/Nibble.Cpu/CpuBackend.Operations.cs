using Nibble.Core.Compute;
using Nibble.Cpu.Kernels;

namespace Nibble.Cpu;

/// <content>The operations. Jobs hold addresses only, so each call keeps the memory of its tensors alive until its end.</content>
public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    public override void GetRows(Weight table, ReadOnlySpan<int> rows, Tensor y)
    {
        Shapes.CheckGetRows(table, rows, y);
        using Call call = Enter();
        _getRows.Prepare(CpuWeight.Of(table), rows, y);
        Start(_getRows, (long)rows.Length * y.Columns * 4);
        GC.KeepAlive(y.Buffer);
    }

    /// <inheritdoc/>
    public override void MatMul(Tensor x, Weight weight, Tensor y)
    {
        Shapes.CheckMatMul(x, weight, y);
        using Call call = Enter();
        Begin(x);
        AddMatrix(x.Rows, CpuWeight.Of(weight), y);
        Multiply();
        GC.KeepAlive(x.Buffer);
        GC.KeepAlive(y.Buffer);
    }

    /// <inheritdoc/>
    public override void MatMul(Tensor x, ReadOnlySpan<Weight> weights, ReadOnlySpan<Tensor> y)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(y.Length, weights.Length);
        for (int i = 0; i < weights.Length; i++)
            Shapes.CheckMatMul(x, weights[i], y[i]);
        using Call call = Enter();
        Begin(x);
        for (int i = 0; i < weights.Length; i++)
            AddMatrix(x.Rows, CpuWeight.Of(weights[i]), y[i]);
        Multiply();
        GC.KeepAlive(x.Buffer);
        foreach (Tensor output in y)
            GC.KeepAlive(output.Buffer);
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentOutOfRangeException">A token asks for an expert that is not there.</exception>
    public override void MatMulExperts(Tensor x, Weight weight, Tensor experts, Tensor y)
    {
        Shapes.CheckMatMulExperts(x, weight, experts, y);
        using Call call = Enter();
        CpuWeight matrices = CpuWeight.Of(weight);
        int used = experts.Columns, pairs = experts.Rows * used;
        bool shared = x.Rows == experts.Rows;

        // Counting sort of the (token, expert) pairs by expert: ends[e] is first where e's pairs begin and at last where they end.
        int* ends = (int*)_lists.Reserve((weight.Matrices + (2L * pairs)) * sizeof(int));
        int* inputs = ends + weight.Matrices, outputs = inputs + pairs;
        new Span<int>(ends, weight.Matrices).Clear();
        for (int t = 0; t < experts.Rows; t++)
        {
            foreach (int expert in HostTensorBuffer.IntRow(experts, t))
            {
                if ((uint)expert >= (uint)weight.Matrices)
                    throw new ArgumentOutOfRangeException(nameof(experts), $"token {t} asks {weight.Name} for expert {expert}; it has 0 to {weight.Matrices - 1}.");
                ends[expert]++;
            }
        }

        int start = 0;
        for (int e = 0; e < weight.Matrices; e++)
            (ends[e], start) = (start, start + ends[e]);
        for (int t = 0; t < experts.Rows; t++)
        {
            Span<int> ids = HostTensorBuffer.IntRow(experts, t);
            for (int i = 0; i < used; i++)
            {
                int place = ends[ids[i]]++;
                outputs[place] = (t * used) + i;
                inputs[place] = shared ? t : (t * used) + i;
            }
        }

        Begin(x);
        start = 0;
        for (int e = 0; e < weight.Matrices; e++)
        {
            if (ends[e] > start) AddMatrix(matrices, e, y, inputs + start, outputs + start, ends[e] - start);
            start = ends[e];
        }

        Multiply();
        GC.KeepAlive(x.Buffer);
        GC.KeepAlive(experts.Buffer);
        GC.KeepAlive(y.Buffer);
    }

    /// <inheritdoc/>
    public override void RmsNorm(Tensor x, Weight? gain, float epsilon, Tensor y)
    {
        Shapes.CheckNorm(x, gain, y);
        using Call call = Enter();
        _norm.Prepare(x, gain is null ? null : CpuWeight.Of(gain).Vector, epsilon, y);
        Start(_norm, (long)x.Rows * x.Columns * 2);
        GC.KeepAlive(x.Buffer);
        GC.KeepAlive(y.Buffer);
    }

    /// <inheritdoc/>
    public override void Rope(Tensor x, int headSize, int firstPosition, RopeTable rope)
    {
        Shapes.CheckRope(x, headSize, firstPosition, rope);
        using Call call = Enter();
        _rope.Prepare(x, headSize, firstPosition, rope);
        Start(_rope, Math.Min(_rope.Units, 4 * _team.Threads), (long)x.Rows * (x.Columns + (rope.Frequencies.Length * 64L)));
        GC.KeepAlive(x.Buffer);
    }

    /// <inheritdoc/>
    public override void StoreKv(Tensor keys, Tensor values, KvCache cache, int layer, int firstPosition)
    {
        Shapes.CheckStoreKv(keys, values, cache, layer, firstPosition);
        using Call call = Enter();
        _store.Prepare(keys, values, HostKvCache.Of(cache), layer, firstPosition);
        Start(_store, (long)keys.Rows * (keys.Columns + values.Columns) * 4);
        GC.KeepAlive(keys.Buffer);
        GC.KeepAlive(values.Buffer);
        GC.KeepAlive(cache);
    }

    /// <inheritdoc/>
    public override void Attention(Tensor queries, KvCache cache, int layer, int firstPosition, in AttentionOptions options, Tensor y)
    {
        Shapes.CheckAttention(queries, cache, layer, firstPosition, options, y);
        using Call call = Enter();
        HostKvCache memory = HostKvCache.Of(cache);
        KvLayer shape = cache.Layers[layer];
        AttentionArguments arguments = new()
        {
            Queries = HostTensorBuffer.Pointer(queries),
            QueryStride = queries.Stride,
            Y = HostTensorBuffer.Pointer(y),
            YStride = y.Stride,
            Keys = memory.Pointer(layer, false),
            Values = memory.Pointer(layer, true),
            KeyBytes = memory.RowBytes(layer, false),
            ValueBytes = memory.RowBytes(layer, true),
            Format = memory.Format,
            FirstPosition = firstPosition,
            Tokens = queries.Rows,
            KvHeads = shape.Heads,
            GroupHeads = options.Heads / shape.Heads,
            KeySize = shape.KeySize,
            ValueSize = shape.ValueSize,
            Scale = options.Scale,
        };
        _attention.Prepare(in arguments, _team.Threads);
        Start(_attention, _attention.Parts, _attention.Work);
        GC.KeepAlive(queries.Buffer);
        GC.KeepAlive(cache);
        GC.KeepAlive(y.Buffer);
    }

    /// <inheritdoc/>
    public override void GatedActivation(Activation activation, Tensor gate, Tensor up, Tensor y)
    {
        Shapes.CheckSame(gate, up, y);
        if (activation is not (Activation.Silu or Activation.Gelu))
            throw new ArgumentOutOfRangeException(nameof(activation), activation, "there is no such activation.");
        using Call call = Enter();
        _activation.Prepare(activation, gate, up, y);
        Start(_activation, (long)gate.Rows * gate.Columns * 8);
        GC.KeepAlive(gate.Buffer);
        GC.KeepAlive(up.Buffer);
        GC.KeepAlive(y.Buffer);
    }

    /// <inheritdoc/>
    public override void Add(Tensor a, Tensor b, Tensor y)
    {
        Shapes.CheckSame(a, b, y);
        using Call call = Enter();
        _add.Prepare(a, b, y);
        Start(_add, (long)a.Rows * a.Columns);
        GC.KeepAlive(a.Buffer);
        GC.KeepAlive(b.Buffer);
        GC.KeepAlive(y.Buffer);
    }

    /// <inheritdoc/>
    public override void AddBias(Tensor x, Weight bias)
    {
        Shapes.CheckAddBias(x, bias);
        using Call call = Enter();
        _add.Prepare(x, CpuWeight.Of(bias).Vector);
        Start(_add, (long)x.Rows * x.Columns);
        GC.KeepAlive(x.Buffer);
    }

    /// <inheritdoc/>
    public override void Scale(Tensor x, float factor, Tensor y)
    {
        Shapes.CheckSame(x, x, y);
        using Call call = Enter();
        _scale.Prepare(x, factor, y);
        Start(_scale, (long)x.Rows * x.Columns);
        GC.KeepAlive(x.Buffer);
        GC.KeepAlive(y.Buffer);
    }

    /// <inheritdoc/>
    public override void Route(Tensor logits, in Routing routing, Tensor experts, Tensor weights)
    {
        Shapes.CheckRoute(logits, routing, experts, weights);
        using Call call = Enter();
        Span<float> probabilities = new(_lists.Reserve(logits.Columns * 4L), logits.Columns);
        for (int t = 0; t < logits.Rows; t++)
            Route(HostTensorBuffer.Row(logits, t), in routing, probabilities, HostTensorBuffer.IntRow(experts, t), HostTensorBuffer.Row(weights, t));
        GC.KeepAlive(logits.Buffer);
        GC.KeepAlive(experts.Buffer);
        GC.KeepAlive(weights.Buffer);
    }

    /// <inheritdoc/>
    public override void Combine(Tensor x, Tensor weights, Tensor y)
    {
        Shapes.CheckCombine(x, weights, y);
        using Call call = Enter();
        _combine.Prepare(x, weights, y);
        Start(_combine, (long)x.Rows * x.Columns);
        GC.KeepAlive(x.Buffer);
        GC.KeepAlive(weights.Buffer);
        GC.KeepAlive(y.Buffer);
    }

    // One token: softmax, then the best experts. A chosen probability is marked by -1, below every other.
    private static void Route(ReadOnlySpan<float> logits, in Routing routing, Span<float> probabilities, Span<int> ids, Span<float> chosen)
    {
        float highest = float.NegativeInfinity, total = 0, sum = 0;
        foreach (float value in logits)
            highest = MathF.Max(highest, value);
        for (int e = 0; e < logits.Length; e++)
            total += probabilities[e] = MathF.Exp(logits[e] - highest);
        for (int e = 0; e < logits.Length; e++)
            probabilities[e] /= total;
        for (int i = 0; i < ids.Length; i++)
        {
            int best = 0;
            while (probabilities[best] == -1) best++;
            for (int e = best + 1; e < probabilities.Length; e++)
                if (probabilities[e] > probabilities[best]) best = e;
            ids[i] = best;
            sum += chosen[i] = probabilities[best];
            probabilities[best] = -1;
        }

        float factor = routing.Normalize ? routing.Scale / MathF.Max(sum, 1f / (1 << 14)) : routing.Scale;
        foreach (ref float value in chosen)
            value *= factor;
    }

    private void Begin(Tensor x) => _matMul.Begin(HostTensorBuffer.Pointer(x), x.Stride, x.Rows, x.Columns);

    private void AddMatrix(int tokens, CpuWeight weight, Tensor y)
    {
        // Token t is row t of input and output.
        int* numbers = (int*)_lists.Reserve(tokens * 4L);
        for (int t = 0; t < tokens; t++)
            numbers[t] = t;
        AddMatrix(weight, 0, y, numbers, numbers, tokens);
    }

    private void AddMatrix(CpuWeight weight, int matrix, Tensor y, int* inputs, int* outputs, int count)
    {
        MatMulTarget target = new()
        {
            Weights = weight.Matrix(matrix),
            RowBytes = weight.RowBytes,
            Rows = weight.Rows,
            Scale = weight.ScaleOf(matrix),
            Format = weight.Format,
            Codes = weight.Codes,
            Integer = IsInteger(weight.Codes),
            Y = HostTensorBuffer.Pointer(y),
            YStride = y.Stride,
            Inputs = inputs,
            Outputs = outputs,
            Count = count,
        };
        _matMul.AddTarget(in target);
    }

    private void Multiply()
    {
        _matMul.Prepare(_forms);
        if (_matMul.NeedsForms) Start(_matMul.Forms, _matMul.FormsWork);
        Start(_matMul, _matMul.Parts(_team.Threads), _matMul.Work);
    }
}
