using Nibble.Core.Compute;
using Nibble.Cpu.Jobs;
using Nibble.Cpu.Kernels;
using Nibble.Cpu.Packed;

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
    public override void MatMul(Tensor x, Weight weight, Tensor y) => MatMul(x, new ReadOnlySpan<Weight>(in weight), new ReadOnlySpan<Tensor>(in y));

    /// <inheritdoc/>
    public override void MatMul(Tensor x, ReadOnlySpan<Weight> weights, ReadOnlySpan<Tensor> y)
    {
        CheckProducts(x, weights, y);
        using Call call = Enter();
        Multiply(x, new ProductInput(new Rows(x)), weights, y);
    }

    /// <inheritdoc/>
    public override void MatMulNormed(Tensor x, in NormOptions options, Weight? gain, Weight? bias, Tensor normed, ReadOnlySpan<Weight> weights, ReadOnlySpan<Tensor> y)
    {
        int size = Shapes.CheckNorm(x, options, gain, bias, normed);
        CheckProducts(normed, weights, y);
        using (Call call = Enter())
        {
            if (CanMakeRows(weights, x.Rows))
            {
                Multiply(x, new ProductInput(new Rows(x), new NormArguments(in options, size, x.Columns, gain, bias)), weights, y);
                return;
            }
        }

        base.MatMulNormed(x, in options, gain, bias, normed, weights, y);
    }

    /// <inheritdoc/>
    public override void MatMulGated(Activation activation, Tensor gate, Tensor up, Tensor gated, Weight weight, Tensor y)
    {
        Shapes.CheckSame(gate, up, gated);
        Shapes.CheckMatMul(gated, weight, y);
        ReadOnlySpan<Weight> weights = new(in weight);
        using (Call call = Enter())
        {
            if (CanMakeRows(weights, gate.Rows))
            {
                Multiply(gate, new ProductInput(activation, new Rows(gate), new Rows(up)), weights, new ReadOnlySpan<Tensor>(in y));
                GC.KeepAlive(up.Buffer);
                return;
            }
        }

        base.MatMulGated(activation, gate, up, gated, weight, y);
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentOutOfRangeException">A token asks for an expert that is not there.</exception>
    public override void MatMulExperts(Tensor x, Weight weight, Tensor experts, Tensor y)
    {
        Shapes.CheckMatMulExperts(x, weight, experts, y);
        using Call call = Enter();
        Multiply(x, new ProductInput(new Rows(x)), weight, experts, y);
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentOutOfRangeException">A token asks for an expert that is not there.</exception>
    public override void MatMulExpertsGated(Activation activation, Tensor gate, Tensor up, Tensor gated, Weight weight, Tensor experts, Tensor y)
    {
        Shapes.CheckSame(gate, up, gated);
        Shapes.CheckMatMulExperts(gated, weight, experts, y);
        using (Call call = Enter())
        {
            // A row that several experts read would be made for each of them.
            if (gate.Rows == (long)experts.Rows * experts.Columns && AreReadOnce(new ReadOnlySpan<Weight>(in weight)))
            {
                Multiply(gate, new ProductInput(activation, new Rows(gate), new Rows(up)), weight, experts, y);
                GC.KeepAlive(up.Buffer);
                return;
            }
        }

        base.MatMulExpertsGated(activation, gate, up, gated, weight, experts, y);
    }

    /// <inheritdoc/>
    public override void Norm(Tensor x, in NormOptions options, Weight? gain, Weight? bias, Tensor y)
    {
        int size = Shapes.CheckNorm(x, options, gain, bias, y);
        using Call call = Enter();
        _norm.Prepare(x, new NormArguments(in options, size, x.Columns, gain, bias), y);
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
        Start(_rope, Math.Min(_rope.Units, 4 * _team.Places), (long)x.Rows * (x.Columns + (rope.Pairs * 64L)));
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
        if (queries.Rows == 0) return;
        HostKvCache memory = HostKvCache.Of(cache);
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
            Rows = memory.Rows(layer),
            Format = memory.Format,
            FirstPosition = firstPosition,
            Tokens = queries.Rows,
            Layer = cache.Layers[layer],
            Options = options,
            Sinks = options.Sinks is null ? null : CpuWeight.Of(options.Sinks).Vector,
            Exact = _exact,
            IsRotated = memory.IsRotated,
        };
        _attention.Prepare(in arguments, _team.Places);
        Start(_attention, _attention.Parts, _attention.Work);
        GC.KeepAlive(queries.Buffer);
        GC.KeepAlive(cache);
        GC.KeepAlive(y.Buffer);
    }

    /// <inheritdoc/>
    public override void Activate(Activation activation, Tensor x, Tensor y)
    {
        Shapes.CheckActivate(activation, x, y);
        using Call call = Enter();
        _activation.Prepare(activation, x, y);
        Start(_activation, (long)x.Rows * x.Columns * 8);
        GC.KeepAlive(x.Buffer);
        GC.KeepAlive(y.Buffer);
    }

    /// <inheritdoc/>
    public override void GatedActivation(Activation activation, Tensor gate, Tensor up, Tensor y)
    {
        Shapes.CheckSame(gate, up, y);
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
    /// <exception cref="ArgumentOutOfRangeException">A token asks for an expert that is not there.</exception>
    public override void AddExpertBias(Tensor x, Weight biases, Tensor experts)
    {
        Shapes.CheckAddExpertBias(x, biases, experts);
        using Call call = Enter();
        for (int t = 0; t < experts.Rows; t++)
            foreach (int expert in HostTensorBuffer.IntRow(experts, t))
                CheckExpert(expert, t, biases, biases.Rows);
        _addExpertBias.Prepare(x, CpuWeight.Of(biases).Vector, experts);
        Start(_addExpertBias, (long)x.Rows * x.Columns);
        GC.KeepAlive(x.Buffer);
        GC.KeepAlive(experts.Buffer);
    }

    /// <inheritdoc/>
    public override void Scale(Tensor x, float factor, Tensor y) => Each(Change.Scale, x, factor, y);

    /// <inheritdoc/>
    public override void Clamp(Tensor x, float limit, Tensor y)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(limit);
        Each(Change.Clamp, x, limit, y);
    }

    /// <inheritdoc/>
    public override void SoftCap(Tensor x, float cap, Tensor y)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(cap);
        Each(Change.SoftCap, x, cap, y);
    }

    /// <inheritdoc/>
    public override void Copy(Tensor x, Tensor y) => Each(Change.Copy, x, 0, y);

    /// <inheritdoc/>
    public override void Convolve(Tensor x, Weight kernel, Weight? bias, Activation activation, Tensor state, Tensor y)
    {
        Shapes.CheckConvolve(x, kernel, bias, activation, state, y);
        using Call call = Enter();
        ConvolutionArguments arguments = new()
        {
            X = HostTensorBuffer.Pointer(x),
            XStride = x.Stride,
            State = HostTensorBuffer.Pointer(state),
            StateStride = state.Stride,
            Kernel = CpuWeight.Of(kernel).Transposed,
            Bias = bias is null ? null : CpuWeight.Of(bias).Vector,
            Y = HostTensorBuffer.Pointer(y),
            YStride = y.Stride,
            Tokens = x.Rows,
            Taps = kernel.Columns,
            Channels = x.Columns,
        };
        _convolution.Prepare(in arguments, activation);
        Start(_convolution, (long)x.Rows * x.Columns * (kernel.Columns + 8));
        GC.KeepAlive(x.Buffer);
        GC.KeepAlive(state.Buffer);
        GC.KeepAlive(y.Buffer);
    }

    /// <inheritdoc/>
    public override void Route(Tensor logits, in Routing routing, Weight? bias, Tensor experts, Tensor weights)
    {
        Shapes.CheckRoute(logits, routing, bias, experts, weights);
        using Call call = Enter();
        _route.Prepare(logits, in routing, bias is null ? null : CpuWeight.Of(bias).Vector, experts, weights);
        Start(_route, (long)logits.Rows * logits.Columns * (8 + routing.Used));
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

    private static void CheckExpert(int expert, int token, Weight weight, int count)
    {
        if ((uint)expert >= (uint)count)
            throw new ArgumentOutOfRangeException(nameof(expert), $"token {token} asks {weight.Name} for expert {expert}; it has 0 to {count - 1}.");
    }

    private void Each(Change change, Tensor x, float number, Tensor y)
    {
        Shapes.CheckSame(x, x, y);
        using Call call = Enter();
        _change.Prepare(change, x, number, y);
        Start(_change, (long)x.Rows * x.Columns * (change == Change.SoftCap ? 8 : 1));
        GC.KeepAlive(x.Buffer);
        GC.KeepAlive(y.Buffer);
    }

    private static void CheckProducts(Tensor x, ReadOnlySpan<Weight> weights, ReadOnlySpan<Tensor> y)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(y.Length, weights.Length);
        for (int i = 0; i < weights.Length; i++)
            Shapes.CheckMatMul(x, weights[i], y[i]);
    }

    // Whether products make the rows of their input as they put them into tiles. Where threads would wait for want of tiles, rows are made before, in smaller pieces.
    private bool CanMakeRows(ReadOnlySpan<Weight> weights, int tokens) => (tokens == 1 || PackedMatMulJob.TokenTileCount(tokens) >= _team.Places) && AreReadOnce(weights);

    // Whether products read their input only as they put it into tiles, as those of packed weights do unless columns are added from it in float32.
    private bool AreReadOnce(ReadOnlySpan<Weight> weights)
    {
        foreach (Weight weight in weights)
        {
            CpuWeight own = CpuWeight.Of(weight);
            Pack(own);
            if (own.Packed is null or { Outliers: not null }) return false;
        }

        return true;
    }

    private void Multiply(Tensor x, in ProductInput input, ReadOnlySpan<Weight> weights, ReadOnlySpan<Tensor> y)
    {
        Begin(x, in input);
        for (int i = 0; i < weights.Length; i++)
            AddMatrix(x.Rows, CpuWeight.Of(weights[i]), y[i]);
        Multiply();
        GC.KeepAlive(x.Buffer);
        foreach (Tensor output in y)
            GC.KeepAlive(output.Buffer);
    }

    private void Multiply(Tensor x, in ProductInput input, Weight weight, Tensor experts, Tensor y)
    {
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
                CheckExpert(expert, t, weight, weight.Matrices);
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

        Begin(x, in input);
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

    // The rows as they are made are for packed weights alone.
    private void Begin(Tensor x, in ProductInput input)
    {
        _matMul.Begin(HostTensorBuffer.Pointer(x), x.Stride, x.Rows, x.Columns);
        _packedMatMul.Begin(in input);
    }

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
        Pack(weight);
        if (weight.Packed is { } packed)
        {
            _packedMatMul.AddTarget(new PackedTarget
            {
                Kernel = packed.Kernel,
                Matrix = weight.Matrices == 1 ? packed : null,
                Tiles = packed.Matrix(matrix),
                Columns = packed.Columns is { } columns ? (int*)columns.Pointer : null,
                Outliers = packed.Outliers,
                Blocks = packed.Blocks,
                Rows = weight.Rows,
                Scale = weight.ScaleOf(matrix),
                InputScale = weight.InputScale,
                Y = HostTensorBuffer.Pointer(y),
                YStride = y.Stride,
                Inputs = inputs,
                Outputs = outputs,
                Count = count,
            });
            return;
        }

        MatMulTarget target = new()
        {
            Source = weight.Source.IsStored ? null : weight.Source,
            SourceRow = (long)matrix * weight.Rows,
            Weights = weight.Source.IsStored ? weight.Matrix(matrix) : null,
            RowBytes = weight.RowBytes,
            Rows = weight.Rows,
            Scale = weight.ScaleOf(matrix),
            InputScale = weight.InputScale,
            Format = weight.Format,
            Codes = weight.Codes,
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
        if (_packedMatMul.TargetCount > 0)
        {
            _packedMatMul.Prepare(_tokenTiles);
            Start(_packedMatMul.Tokens, _packedMatMul.TokensWork);
            Start(_packedMatMul, _packedMatMul.Parts(), _packedMatMul.Work);
        }

        if (_matMul.TargetCount == 0) return;
        _matMul.Prepare(_forms);
        if (_matMul.NeedsForms) Start(_matMul.Forms, _matMul.FormsWork);
        Start(_matMul, _matMul.Parts(_team.Places), _matMul.Work);
    }
}
