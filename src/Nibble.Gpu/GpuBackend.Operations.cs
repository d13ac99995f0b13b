using System.Runtime.InteropServices;
using Nibble.Core.Compute;
using Nibble.Core.Memory;
using Nibble.Gpu.Drivers;
using Nibble.Gpu.Weights;

namespace Nibble.Gpu;

/// <content>The operations on single values and on rows.</content>
public sealed partial class GpuBackend
{
    // Columns that a part of a choice has at least.
    private const int LeastChoice = 256;

    private readonly Dictionary<PlaneFormat, GpuKernel> _rowKernels = [];

    // The kinds of native/common/elements.h.
    private enum Change
    {
        Copy = 0,
        Scale = 1,
        Clamp = 2,
        SoftCap = 3,
    }

    /// <inheritdoc/>
    public override void GetRows(Weight table, ReadOnlySpan<int> rows, Tensor y)
    {
        Shapes.CheckGetRows(table, rows, y);
        GpuWeight weight = GpuWeight.Of(table, _device);
        if (weight.Parts.Length > 0)
        {
            GetPackedRows(weight, rows, y);
            return;
        }

        long bytes = (long)rows.Length * y.Columns * 4;
        if (_staging is null || _staging.Length < bytes)
        {
            _staging?.Dispose();
            _staging = new NativeBuffer(bytes, isZeroed: false);
        }

        float scale = weight.ScaleOf(0);
        for (int i = 0; i < rows.Length; i++)
        {
            Span<float> values = _staging.Span<float>((long)i * y.Columns, y.Columns);
            weight.Source.CopyRow(rows[i], values);
            if (scale == 1) continue;
            foreach (ref float value in values)
                value *= scale;
        }

        WriteRows(_staging.Span<byte>(0, checked((int)bytes)), y);
    }

    /// <inheritdoc/>
    public override void Norm(Tensor x, in NormOptions options, Weight? gain, Weight? bias, Tensor y)
    {
        int size = Shapes.CheckNorm(x, options, gain, bias, y);
        if (x.Rows == 0 || x.Columns == 0) return;
        int items = Fitting(Kernel("norm", "norm"), _normItems);
        GpuKernel kernel = Input(Input(Kernel("norm", "norm"), x), y).With(size).With((int)options.Kind).With(options.Epsilon);
        Vector(Vector(kernel, gain, size), bias, size).WithLocal(items * 4).Run(new Extent(x.Columns / size, x.Rows), new Extent(items));

        GpuKernel Vector(GpuKernel target, Weight? vector, int group) => vector is null
            ? target.With(_none).With(0)
            : target.With(GpuWeight.Of(vector, _device).Vector).With((long)vector.Rows * vector.Columns == group ? 1 : 2);
    }

    /// <inheritdoc/>
    public override void Rope(Tensor x, int headSize, int firstPosition, RopeTable rope)
    {
        Shapes.CheckRope(x, headSize, firstPosition, rope);
        if (rope.Pairs == 0) return;
        if (!_ropes.TryGetValue(rope, out GpuRopeTable? table)) _ropes[rope] = table = new GpuRopeTable(_device, rope);
        GpuKernel kernel = Kernel("elements", "rope");
        int items = Math.Min(_elementItems, 32);
        for (int t = 0; t < x.Rows;)
        {
            int position = firstPosition + t, first = position % GpuRopeTable.Positions, count = Math.Min(x.Rows - t, GpuRopeTable.Positions - first);
            Input(kernel.Start(), x.SliceRows(t, count)).With(headSize).With(rope.Offset).With(rope.Pairs).With(rope.Pairing == RopePairing.Adjacent ? 1 : 0)
                .With(table.Of(position)).With(first).Run(new Extent(Groups(rope.Pairs, items), x.Columns / headSize, count), new Extent(items));
            t += count;
        }
    }

    /// <inheritdoc/>
    public override void Activate(Activation activation, Tensor x, Tensor y)
    {
        Shapes.CheckActivate(activation, x, y);
        RunElements(Input(Input(Elements("activate"), x), y).With(y.Columns).With((int)activation).With(Gelu(activation)), y);
    }

    /// <inheritdoc/>
    public override void GatedActivation(Activation activation, Tensor gate, Tensor up, Tensor y)
    {
        Shapes.CheckSame(gate, up, y);
        RunElements(Input(Input(Input(Elements("gated"), gate), up), y).With(y.Columns).With((int)activation).With(Gelu(activation)), y);
    }

    /// <inheritdoc/>
    public override void Add(Tensor a, Tensor b, Tensor y)
    {
        Shapes.CheckSame(a, b, y);
        RunElements(Input(Input(Input(Elements("add"), a), b), y).With(y.Columns), y);
    }

    /// <inheritdoc/>
    public override void AddBias(Tensor x, Weight bias)
    {
        Shapes.CheckAddBias(x, bias);
        RunElements(Input(Input(Elements("add"), x).With(GpuWeight.Of(bias, _device).Vector).With(0L).With(0), x).With(x.Columns), x);
    }

    /// <inheritdoc/>
    /// <remarks>An expert that is not there makes its values NaN.</remarks>
    public override void AddExpertBias(Tensor x, Weight biases, Tensor experts)
    {
        Shapes.CheckAddExpertBias(x, biases, experts);
        RunElements(Input(Input(Elements("add_expert_bias"), x).With(GpuWeight.Of(biases, _device).Vector).With(biases.Rows), experts).With(experts.Columns).With(x.Columns), x);
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
    public override void Combine(Tensor x, Tensor weights, Tensor y)
    {
        Shapes.CheckCombine(x, weights, y);
        RunElements(Input(Input(Input(Elements("combine"), x), weights).With(weights.Columns), y).With(y.Columns), y);
    }

    /// <inheritdoc/>
    public override void Route(Tensor logits, in Routing routing, Weight? bias, Tensor experts, Tensor weights)
    {
        Shapes.CheckRoute(logits, routing, bias, experts, weights);
        if (logits.Rows == 0) return;
        int groups = Math.Max(1, routing.Groups), items = Math.Min(_elementItems, 16);
        GpuKernel kernel = Input(Kernel("routing", "route"), logits).With(logits.Columns)
            .With(bias is null ? _none : GpuWeight.Of(bias, _device).Vector).With(bias is null ? 0 : 1)
            .With((int)routing.Gating).With(routing.Used).With(routing.Normalize ? 1 : 0).With(routing.Scale).With(groups).With(routing.GroupsUsed)
            .With(_routes.Reserve((long)logits.Rows * ((2 * logits.Columns) + groups) * 4));
        Input(Input(kernel, experts), weights).With(logits.Rows).Run(new Extent(Groups(logits.Rows, items)), new Extent(items));
    }

    /// <inheritdoc/>
    public override bool HasTopK => true;

    /// <inheritdoc/>
    public override void TopK(Tensor x, Tensor columns, Tensor values)
    {
        int k = Shapes.CheckTopK(x, columns, values);
        if (x.Rows == 0) return;
        GpuKernel kernel = Kernel("top_k", "top_k");
        int items = Fitting(kernel, _normItems), most = (_device.Info.IsProcessor ? 2 : 4) * Math.Max(1, _device.Info.ComputeUnits);
        int parts = Math.Clamp(x.Columns / Math.Max(LeastChoice, 8 * k), 1, most);
        if (parts == 1)
        {
            Last(Input(kernel, x).With(_none).With(0).With(x.Columns).With(x.Columns));
            return;
        }

        int left = parts * k;
        long count = (long)x.Rows * left;
        GpuBuffer choices = _choices.Reserve(count * 8);
        Input(kernel, x).With(_none).With(0).With(x.Columns).With(Groups(x.Columns, parts)).With(k).With(0)
            .With(choices).With(0L).With(left).With(choices).With(count).With(left).WithLocal(items * 8).Run(new Extent(parts, x.Rows), new Extent(items));
        Last(kernel.Start().With(choices).With(count).With(left).With(choices).With(1).With(left).With(left));

        void Last(GpuKernel source) => Input(Input(source.With(k).With(1), columns), values).WithLocal(items * 8).Run(new Extent(1, x.Rows), new Extent(items));
    }

    /// <inheritdoc/>
    public override void Convolve(Tensor x, Weight kernel, Weight? bias, Activation activation, Tensor state, Tensor y)
    {
        Shapes.CheckConvolve(x, kernel, bias, activation, state, y);
        GpuKernel target = Input(Kernel("recurrence", "convolve"), x).With(GpuWeight.Of(kernel, _device).Vector).With(kernel.Columns)
            .With(bias is null ? _none : GpuWeight.Of(bias, _device).Vector).With(bias is null ? 0 : 1).With((int)activation).With(Gelu(activation));
        Input(Input(target, state), y).With(x.Rows).With(x.Columns).Run(new Extent(Groups(x.Columns, _elementItems)), new Extent(_elementItems));
    }

    /// <inheritdoc/>
    public override void DeltaRule(Tensor queries, Tensor keys, Tensor values, Tensor steps, Weight rates, Tensor betas, bool isInterleaved, Tensor state, Tensor y)
    {
        (int heads, int keyHeads, int keySize, int valueSize) = Shapes.CheckDeltaRule(queries, keys, values, steps, rates, betas, state, y);
        GpuKernel kernel = Input(Input(Input(Input(Kernel("recurrence", "delta_rule"), queries), keys), values), steps)
            .With(steps.Columns == heads ? 1 : 0).With(GpuWeight.Of(rates, _device).Vector);
        Input(Input(Input(kernel, betas), state), y).With(queries.Rows).With(heads).With(keyHeads).With(keySize).With(valueSize).With(isInterleaved ? 1 : 0)
            .Run(new Extent(Groups(heads * valueSize, _elementItems)), new Extent(_elementItems));
    }

    /// <inheritdoc/>
    public override void StateSpaceScan(Tensor x, Tensor steps, Weight rates, Tensor inputs, Tensor outputs, Weight skips, Tensor state, Tensor y)
    {
        (int heads, int groups, int headSize, int stateSize) = Shapes.CheckStateSpaceScan(x, steps, rates, inputs, outputs, skips, state, y);
        GpuKernel kernel = Input(Input(Kernel("recurrence", "state_space_scan"), x), steps)
            .With(GpuWeight.Of(rates, _device).Vector).With((long)rates.Rows * rates.Columns == heads ? 1 : 0);
        kernel = Input(Input(kernel, inputs), outputs).With(GpuWeight.Of(skips, _device).Vector);
        Input(Input(kernel, state), y).With(x.Rows).With(heads).With(groups).With(headSize).With(stateSize)
            .Run(new Extent(Groups(heads * headSize, _elementItems)), new Extent(_elementItems));
    }

    // Rows of what products read, too: an embedding that is also the output.
    private void GetPackedRows(GpuWeight weight, ReadOnlySpan<int> rows, Tensor y)
    {
        if (rows.IsEmpty) return;
        PlaneFormat planes = weight.Reader!.Planes;
        if (!_rowKernels.TryGetValue(planes, out GpuKernel? kernel))
            _rowKernels[planes] = kernel = _kernels.Module("rows", [.. planes.Defines, "V=1"]).Kernel("get_rows");
        GpuBuffer ids = _ids.Reserve(rows.Length * 4L);
        _device.Write(ids, 0, MemoryMarshal.AsBytes(rows));
        int items = Math.Min(_elementItems, 64);
        foreach (WeightPart part in weight.Parts)
        {
            kernel.Start().With(part.Memory).With(part.TileBytes);
            for (int plane = 1; plane < PlaneFormat.PlaneCount; plane++)
                kernel.With(part.Starts[plane]);
            Input(kernel.With(weight.Table!).With(weight.Scales!).With(part.Rows).With(y.Columns).With(part.FirstRow).With(ids), y)
                .Run(new Extent(Groups(Groups(y.Columns, 8), items), rows.Length), new Extent(items));
        }
    }

    private static int Groups(int count, int items) => (count + items - 1) / items;

    // A tensor as kernels take it: memory, first element, stride.
    private static GpuKernel Input(GpuKernel kernel, Tensor tensor) => kernel.With(GpuTensorBuffer.Of(tensor)).With(tensor.Offset).With(tensor.Stride);

    private GpuKernel Kernel(string module, string name) => _kernels.Module(module).Kernel(name).Start();

    private GpuKernel Elements(string name) => Kernel("elements", name);

    private void RunElements(GpuKernel kernel, Tensor y) => kernel.Run(new Extent(Groups(y.Columns, _elementItems), y.Rows), new Extent(_elementItems));

    private void Each(Change change, Tensor x, float number, Tensor y)
    {
        Shapes.CheckSame(x, x, y);
        RunElements(Input(Input(Elements("change"), x), y).With(y.Columns).With((int)change).With(number), y);
    }

    private GpuBuffer Gelu(Activation activation)
    {
        if (activation != Activation.Gelu) return _none;
        return _gelu ??= _device.Allocate(MemoryMarshal.AsBytes(HalfGelu.Table), "the table of GELU");
    }
}
