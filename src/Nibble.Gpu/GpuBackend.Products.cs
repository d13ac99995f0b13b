using Nibble.Core.Compute;
using Nibble.Gpu.Drivers;
using Nibble.Gpu.Weights;

namespace Nibble.Gpu;

/// <content>Products, keys and values, attention.</content>
public sealed partial class GpuBackend
{
    private readonly GpuModule?[] _kvModules = new GpuModule?[4];
    private readonly Dictionary<(PlaneFormat Planes, int Tokens, int Split, bool IsGrouped, GpuFeatures Used), GpuKernel> _products = [];
    private readonly Dictionary<(PlaneFormat Planes, bool IsGrouped, GpuFeatures Used), GpuKernel> _tiled = [];

    // The tiles of native/opencl/gemm.cl.
    private const int GemmRows = 64, GemmTokens = 64, GemmItems = 64;

    // Tokens for which a graphics card fills tiles.
    private const int LeastTiled = 16;

    // Positions that a part of attention has at least, so that putting parts together stays cheap.
    private const int LeastPart = 128;

    /// <inheritdoc/>
    public override void MatMul(Tensor x, Weight weight, Tensor y)
    {
        Shapes.CheckMatMul(x, weight, y);
        Multiply(Rounded(x, weight), weight, y, null, x.Rows, 1);
    }

    /// <inheritdoc/>
    /// <remarks>An expert that is not there makes its products NaN.</remarks>
    public override void MatMulExperts(Tensor x, Weight weight, Tensor experts, Tensor y)
    {
        Shapes.CheckMatMulExperts(x, weight, experts, y);
        Multiply(Rounded(x, weight), weight, y, experts, y.Rows, x.Rows == experts.Rows ? experts.Columns : 1);
    }

    /// <inheritdoc/>
    public override void StoreKv(Tensor keys, Tensor values, KvCache cache, int layer, int firstPosition)
    {
        Shapes.CheckStoreKv(keys, values, cache, layer, firstPosition);
        GpuKvCache memory = GpuKvCache.Of(cache, _device);
        Store(keys, false);
        Store(values, true);

        void Store(Tensor x, bool isValues)
        {
            int units = x.Columns / cache.Format.BlockValues, size = isValues ? cache.Layers[layer].ValueSize : cache.Layers[layer].KeySize;
            GpuBuffer source = cache.IsRotated ? Rotated(cache, x, size) : GpuTensorBuffer.Of(x);
            KvKernel(cache, "store_kv").With(source).With(cache.IsRotated ? 0L : x.Offset).With(cache.IsRotated ? x.Columns : x.Stride)
                .With(memory.Memory(layer, isValues)).With(cache.RowBytes(layer, isValues)).With(cache.Rows(layer)).With(firstPosition).With(units)
                .Run(new Extent(Groups(units, _elementItems), x.Rows), new Extent(_elementItems));
        }
    }

    /// <inheritdoc/>
    public override void Attention(Tensor queries, KvCache cache, int layer, int firstPosition, in AttentionOptions options, Tensor y)
    {
        Shapes.CheckAttention(queries, cache, layer, firstPosition, options, y);
        if (queries.Rows == 0) return;
        GpuKvCache memory = GpuKvCache.Of(cache, _device);
        KvLayer shape = cache.Layers[layer];
        int heads = options.Heads, last = firstPosition + queries.Rows - 1, visible = last + 1 - shape.FirstVisible(last);
        int parts = _options.AttentionParts > 0 ? _options.AttentionParts : PartsOf(heads * (long)queries.Rows, visible);
        int attentionItems = Fitting(KvKernel(cache, "attention"), _attentionItems), local = (shape.KeySize + shape.ValueSize + (3 * attentionItems)) * 4;
        if (local > _device.Info.LocalBytes)
            throw new GpuException($"attention with keys of {shape.KeySize} and values of {shape.ValueSize} takes {local} bytes of local memory; device '{_device.Info.Name}' has {_device.Info.LocalBytes}.");
        GpuBuffer sinks = options.Sinks is null ? _none : GpuWeight.Of(options.Sinks, _device).Vector;
        int hasSinks = options.Sinks is null ? 0 : 1;
        GpuBuffer left = parts == 1 ? _none : _parts.Reserve((long)queries.Rows * heads * parts * (shape.ValueSize + 2) * 4);
        GpuBuffer source = cache.IsRotated ? Rotated(cache, queries, shape.KeySize) : GpuTensorBuffer.Of(queries);
        GpuKernel kernel = KvKernel(cache, "attention").With(source).With(cache.IsRotated ? 0L : queries.Offset).With(cache.IsRotated ? queries.Columns : queries.Stride)
            .With(memory.Memory(layer, false)).With(cache.RowBytes(layer, false)).With(memory.Memory(layer, true)).With(cache.RowBytes(layer, true)).With(cache.Rows(layer))
            .With(firstPosition).With(shape.Window).With(shape.IsChunked ? 1 : 0).With(heads).With(shape.Heads).With(shape.KeySize).With(shape.ValueSize)
            .With((int)cache.Format.RowBytes(shape.KeySize)).With((int)cache.Format.RowBytes(shape.ValueSize))
            .With(options.Scale).With(options.SoftCap).With(options.AlibiBias).With(options.Temperature.Scale).With(options.Temperature.Interval).With(options.Temperature.Offset)
            .With(sinks).With(hasSinks).With(left);
        Input(kernel, y).WithLocal(local).Run(new Extent(heads, queries.Rows, parts), new Extent(attentionItems));
        if (parts > 1)
        {
            int items = Math.Min(_elementItems, 64);
            Input(KvKernel(cache, "attention_merge").With(left).With(parts).With(heads).With(shape.ValueSize).With(sinks).With(hasSinks), y)
                .Run(new Extent(Groups(shape.ValueSize, items), heads, queries.Rows), new Extent(items));
        }

        // The rotation is its own inverse.
        if (cache.IsRotated) Rotate(cache, GpuTensorBuffer.Of(y), y.Offset, y.Stride, y.Rows, heads, shape.ValueSize);
    }

    // A copy of heads, rotated.
    private GpuBuffer Rotated(KvCache cache, Tensor x, int size)
    {
        GpuBuffer copy = _rotated.Reserve((long)x.Rows * x.Columns * 4);
        Input(Elements("change"), x).With(copy).With(0L).With(x.Columns).With(x.Columns).With((int)Change.Copy).With(0f)
            .Run(new Extent(Groups(x.Columns, _elementItems), x.Rows), new Extent(_elementItems));
        Rotate(cache, copy, 0, x.Columns, x.Rows, x.Columns / size, size);
        return copy;
    }

    private void Rotate(KvCache cache, GpuBuffer memory, long offset, int stride, int rows, int heads, int size)
    {
        GpuKernel kernel = KvKernel(cache, "rotate_heads");
        kernel.With(memory).With(offset).With(stride).With(size).With(WalshHadamard.Block(size)).WithLocal(size * 4).Run(new Extent(heads, rows), new Extent(Fitting(kernel, _normItems)));
    }

    private GpuKernel KvKernel(KvCache cache, string name)
    {
        int number = KvNumber(cache.Format);
        return (_kvModules[number] ??= _kernels.Module("attention", $"KV={number}", $"W={(_device.Info.IsProcessor && _rowVector == 16 ? 16 : 4)}")).Kernel(name).Start();
    }

    // Items of a group: a power of two that the kernel can have.
    private static int Fitting(GpuKernel kernel, int items) => items <= kernel.MaxGroupItems ? items : PowerOfTwo(Math.Max(1, kernel.MaxGroupItems));

    // As many groups as keep the device busy.
    private int PartsOf(long groups, int visible)
    {
        long wanted = _device.Info.IsProcessor ? _device.Info.ComputeUnits : 4L * _device.Info.ComputeUnits;
        return (int)Math.Clamp(wanted / groups, 1, Math.Clamp(visible / LeastPart, 1, 64));
    }

    private void Multiply(Tensor x, Weight weight, Tensor y, Tensor? experts, int rows, int share)
    {
        GpuWeight own = Packed(weight);
        if (rows == 0) return;
        bool isProcessor = _device.Info.IsProcessor;

        // Experts have tokens of their own each, so that it takes more of them until a tile is used well.
        int least = _options.TiledTokens != 0 ? _options.TiledTokens : isProcessor ? int.MaxValue : experts is null ? LeastTiled : LeastTiled * weight.Matrices / 4;
        bool isGrouped = experts is not null && (rows >= least || rows >= 2L * weight.Matrices) && (weight.Matrices + 1) * 4L <= _device.Info.LocalBytes;
        GpuFeatures used;
        if (rows >= least && (experts is null || isGrouped) && Tiled(own.Reader!.Planes, isGrouped, used = Using(own.Reader!.Planes, weight, isTiled: true)) is { } tiled)
        {
            int blocks = isGrouped ? Group(experts!.Value, rows, weight.Matrices, GemmTokens) : Groups(rows, GemmTokens);
            GpuBuffer? packed = Pack(x, own.Reader.Planes, used);
            foreach (WeightPart part in own.Parts)
            {
                Input(Inputs(Planes(tiled, own, part), x, packed, used), y).With(rows);
                Blocks(tiled, isGrouped).With(share).With(weight.Matrices).WithLocal(GemmBytes(used)).Run(new Extent(Groups(part.Rows, GemmRows), blocks), new Extent(GemmItems));
            }

            return;
        }

        used = Using(own.Reader!.Planes, weight, isTiled: false);
        int tokens = (experts is not null && !isGrouped) || rows == 1 ? 1 : rows <= 4 ? 4 : 8;
        int split = _options.ColumnSplit != 0 ? _options.ColumnSplit : isProcessor ? 1 : tokens < 8 ? 8 : 2;
        split = Math.Min(split, PowerOfTwo(_device.Info.MaxGroupItems));
        GpuKernel kernel = Product(own.Reader!.Planes, tokens, split, isGrouped, used);
        if (kernel.MaxGroupItems < split) kernel = Product(own.Reader!.Planes, tokens, split = PowerOfTwo(Math.Max(1, kernel.MaxGroupItems)), isGrouped, used);
        int items = Math.Clamp(kernel.MaxGroupItems / split, 1, isProcessor ? 1 : Math.Max(8, 128 / split));
        if (split > 1) items = (int)Math.Clamp(_device.Info.LocalBytes / (split * tokens * _rowVector * 4), 1, items);
        int groups = isGrouped ? Group(experts!.Value, rows, weight.Matrices, tokens) : Groups(rows, tokens);
        GpuBuffer? words = Pack(x, own.Reader.Planes, used);
        foreach (WeightPart part in own.Parts)
        {
            Input(Inputs(Planes(kernel, own, part), x, words, used), y).With(rows);
            if (experts is { } ids) Input(kernel, ids).With(ids.Columns);
            else kernel.With(_none).With(0L).With(0).With(0);
            Blocks(kernel, isGrouped).With(share).With(weight.Matrices).WithLocal(Math.Max(16, split == 1 ? 0 : items * split * tokens * _rowVector * 4))
                .Run(new Extent(Groups(PlaneFormat.Padded(part.Rows) / _rowVector, items), 1, groups), new Extent(items, split));
        }
    }

    // The first arguments of every product.
    private static GpuKernel Planes(GpuKernel kernel, GpuWeight weight, WeightPart part)
    {
        kernel.Start().With(part.Memory).With(part.MatrixBytes).With(part.TileBytes);
        for (int plane = 1; plane < PlaneFormat.PlaneCount; plane++)
            kernel.With(part.Starts[plane]);
        return kernel.With(weight.Table!).With(weight.Scales!).With(part.Rows).With(PlaneFormat.Padded(part.Rows)).With(weight.Columns).With(part.FirstRow);
    }

    private GpuKernel Blocks(GpuKernel kernel, bool isGrouped) => isGrouped ? kernel.With(_order.Reserve(0)).With(_blocks.Reserve(0)) : kernel.With(_none).With(_none);

    // Puts the tokens of one expert together, in blocks of some; returns how many blocks there may be.
    private int Group(Tensor experts, int rows, int matrices, int length)
    {
        int most = (rows / length) + Math.Min(rows, matrices + 1);
        GpuBuffer order = _order.Reserve(rows * 4L), blocks = _blocks.Reserve(most * 12L);
        GpuKernel kernel = Kernel("routing", "group_rows");
        Input(kernel, experts).With(experts.Columns).With(rows).With(matrices).With(length).With(most).With(order).With(blocks)
            .WithLocal((matrices + 1) * 4).Run(new Extent(1), new Extent(Fitting(kernel, _normItems)));
        return most;
    }

    // Activations that a weight's own scale has rounded are not rounded again.
    private GpuFeatures Using(PlaneFormat planes, Weight weight, bool isTiled) => weight.InputScale != 0 ? GpuFeatures.None : Using(planes, weight.Columns, isTiled);

    // What a product uses: packed bytes for integer codes, and in tiles half arithmetic for all codes, in runs of 32 columns.
    internal GpuFeatures Using(PlaneFormat planes, int columns, bool isTiled)
    {
        if (!planes.HasCodes || planes.Group < 16 || columns % 32 != 0) return GpuFeatures.None;
        GpuFeatures possible = _features & (planes.HasTable ? GpuFeatures.Half : GpuFeatures.PackedDot | GpuFeatures.Half);
        return possible.HasFlag(GpuFeatures.PackedDot) ? GpuFeatures.PackedDot : isTiled ? possible : GpuFeatures.None;
    }

    // Words of 32 columns (native/opencl/dialect.cl).
    private static int InputWords(GpuFeatures used) => used == GpuFeatures.Half ? 20 : 12;

    // Activations as a product that uses features takes them; null for what they are.
    private GpuBuffer? Pack(Tensor x, PlaneFormat planes, GpuFeatures used)
    {
        if (used == GpuFeatures.None) return null;
        int runs = x.Columns / 32, items = Math.Min(_elementItems, 16);
        GpuBuffer words = _inputs.Reserve((long)x.Rows * runs * InputWords(used) * 4);
        Input(_kernels.Module(used, "inputs").Kernel("pack_inputs").Start(), x).With(runs).With(planes.Code == PlaneCode.SignedByte ? 0 : 1).With(words)
            .Run(new Extent(Groups(runs, items), x.Rows), new Extent(items));
        return words;
    }

    private static GpuKernel Inputs(GpuKernel kernel, Tensor x, GpuBuffer? packed, GpuFeatures used) =>
        packed is null ? Input(kernel, x) : kernel.With(packed).With(0L).With(x.Columns / 32 * InputWords(used));

    // Local memory of a tile (native/opencl/gemm.cl).
    private static int GemmBytes(GpuFeatures used) => used switch
    {
        GpuFeatures.PackedDot => 4 * ((4 * 64) + (3 * 65) + (8 * 64) + (8 * 65)),
        GpuFeatures.Half => (4 * ((4 * 64) + (3 * 65))) + (2 * 32 * (64 + 66)),
        _ => 4 * 32 * (64 + 65),
    };

    // Null where the device has too few items or too little local memory for it.
    private GpuKernel? Tiled(PlaneFormat planes, bool isGrouped, GpuFeatures used)
    {
        if (GemmBytes(used) > _device.Info.LocalBytes) return null;
        if (!_tiled.TryGetValue((planes, isGrouped, used), out GpuKernel? kernel))
            _tiled[(planes, isGrouped, used)] = kernel = _kernels.Module(used, "gemm", [.. planes.Defines, "V=4", $"GROUPED={(isGrouped ? 1 : 0)}"]).Kernel("gemm");
        return kernel.MaxGroupItems >= GemmItems ? kernel : null;
    }

    private GpuKernel Product(PlaneFormat planes, int tokens, int split, bool isGrouped, GpuFeatures used)
    {
        if (_products.TryGetValue((planes, tokens, split, isGrouped, used), out GpuKernel? known)) return known;
        return _products[(planes, tokens, split, isGrouped, used)] =
            _kernels.Module(used, "matmul", [.. planes.Defines, $"V={_rowVector}", $"T={tokens}", $"SPLIT={split}", $"GROUPED={(isGrouped ? 1 : 0)}"]).Kernel("matmul");
    }
}
