using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Cpu.Codes;
using Nibble.Cpu.Kernels;
using Nibble.Cpu.Threading;

namespace Nibble.Cpu.Jobs;

/// <summary><see cref="Backend.Norm"/>, a group of a row at a time.</summary>
internal sealed unsafe class NormJob(CpuKernels kernels) : UnitJob
{
    private Rows _x, _y;
    private NormArguments _arguments;

    /// <summary>Describes the operation.</summary>
    public void Prepare(Tensor x, in NormArguments arguments, Tensor y)
    {
        (_x, _y, _arguments) = (new Rows(x), new Rows(y), arguments);
        Units = x.Rows * arguments.Groups;
    }

    protected override void Unit(int unit, int thread)
    {
        int row = unit / _arguments.Groups;
        _arguments.Run(kernels, _x[row], unit % _arguments.Groups, _y[row]);
    }
}

/// <summary><see cref="Backend.Rope"/>, a row at a time. The rotations of the last positions are kept for the next call.</summary>
internal sealed unsafe class RopeJob : TeamJob, IDisposable
{
    private readonly Scratch _table = new();
    private Rows _x;
    private RopeTable? _rope;
    private int _headSize, _pairs, _firstPosition, _positions;
    private float* _cosine, _sine;
    private bool _known;

    /// <summary>Rows.</summary>
    public int Units => _x.Count;

    /// <summary>Describes the operation.</summary>
    public void Prepare(Tensor x, int headSize, int firstPosition, RopeTable rope)
    {
        _known = ReferenceEquals(rope, _rope) && firstPosition == _firstPosition && x.Rows <= _positions;
        (_x, _headSize, _pairs) = (new Rows(x), headSize, rope.Pairs);
        if (_known) return;
        long values = (long)x.Rows * _pairs;
        _cosine = (float*)_table.Reserve(values * 8);
        _sine = _cosine + values;
        (_rope, _firstPosition, _positions) = (rope, firstPosition, x.Rows);
    }

    public override void Run(int part, int parts, int thread)
    {
        int first = Share(_x.Count, part, parts), end = Share(_x.Count, part + 1, parts);
        for (int row = first; row < end; row++)
        {
            float* cosine = _cosine + ((long)row * _pairs), sine = _sine + ((long)row * _pairs);
            if (!_known) _rope!.Rotation(_firstPosition + row, new Span<float>(cosine, _pairs), new Span<float>(sine, _pairs));
            float* x = _x[row];
            for (int head = 0; head < _x.Columns; head += _headSize)
                if (_rope!.Pairing == RopePairing.Halves) Rotation.Halves(x + head + _rope.Offset, cosine, sine, _pairs);
                else Rotation.Adjacent(x + head + _rope.Offset, cosine, sine, _pairs);
        }
    }

    public void Dispose() => _table.Dispose();
}

/// <summary><see cref="Backend.StoreKv"/>, a token at a time.</summary>
internal sealed unsafe class StoreJob(Scratch[] scratch) : UnitJob
{
    private Rows _keys, _values;
    private byte* _keyRows, _valueRows;
    private int _keyBytes, _valueBytes, _keySize, _valueSize, _firstPosition, _rows;
    private bool _rotates;
    private BlockFormat _format = BlockFormats.F32;

    /// <summary>Describes the operation.</summary>
    public void Prepare(Tensor keys, Tensor values, HostKvCache cache, int layer, int firstPosition)
    {
        (_keys, _values, _format, Units) = (new Rows(keys), new Rows(values), cache.Format, keys.Rows);
        (_keyBytes, _valueBytes) = (cache.RowBytes(layer, false), cache.RowBytes(layer, true));
        (_firstPosition, _rows) = (firstPosition, cache.Rows(layer));
        _keyRows = cache.Pointer(layer, false);
        _valueRows = cache.Pointer(layer, true);
        (_keySize, _valueSize, _rotates) = (cache.Layers[layer].KeySize, cache.Layers[layer].ValueSize, cache.IsRotated);
        foreach (Scratch own in scratch)
            if (_rotates) own.Reserve(4L * Math.Max(keys.Columns, values.Columns));
    }

    protected override void Unit(int unit, int thread)
    {
        long row = (_firstPosition + unit) % _rows;
        Store(_keys[unit], _keys.Columns, _keySize, _keyRows + (row * _keyBytes), thread);
        Store(_values[unit], _values.Columns, _valueSize, _valueRows + (row * _valueBytes), thread);
    }

    private void Store(float* heads, int count, int size, byte* row, int thread)
    {
        if (_rotates)
        {
            float* rotated = (float*)scratch[thread].Pointer;
            new ReadOnlySpan<float>(heads, count).CopyTo(new Span<float>(rotated, count));
            HeadRotation.Rotate(rotated, count, size);
            heads = rotated;
        }

        KvRows.Encode(_format, heads, count, row);
    }
}

/// <summary><see cref="Backend.Convolve"/>, some neighbouring channels of all tokens at a time, which then shift their state.</summary>
internal sealed unsafe class ConvolutionJob(CpuKernels kernels) : UnitJob
{
    private const int RunChannels = 128;

    private ConvolutionArguments _arguments;
    private Activation _activation;

    /// <summary>Describes the operation.</summary>
    public void Prepare(in ConvolutionArguments arguments, Activation activation)
    {
        (_arguments, _activation) = (arguments, activation);
        Units = (arguments.Channels + RunChannels - 1) / RunChannels;
    }

    protected override void Unit(int unit, int thread)
    {
        int first = unit * RunChannels, count = Math.Min(RunChannels, _arguments.Channels - first), kept = _arguments.Taps - 1;
        for (int t = 0; t < _arguments.Tokens; t++)
        {
            kernels.Convolve(in _arguments, t, first, count);
            float* y = _arguments.Y + (t * _arguments.YStride) + first;
            if (_activation != Activation.Identity) kernels.Activate(_activation, y, null, y, count);
        }

        // From the oldest row on, so that a row is read before it is overwritten.
        for (int i = 0; i < kept; i++)
            new Span<float>(_arguments.Row(_arguments.Tokens + i - kept) + first, count).CopyTo(new Span<float>(_arguments.Row(i - kept) + first, count));
    }
}

/// <summary><see cref="Backend.Route"/>, a token at a time.</summary>
internal sealed unsafe class RouteJob(Scratch[] scratch) : UnitJob
{
    private Rows _logits, _experts, _weights;
    private Routing _routing;
    private float* _bias;

    /// <summary>Describes the operation.</summary>
    public void Prepare(Tensor logits, in Routing routing, float* bias, Tensor experts, Tensor weights)
    {
        (_logits, _experts, _weights, _routing, Units) = (new Rows(logits), new Rows(experts), new Rows(weights), routing, logits.Rows);
        _bias = bias;
        foreach (Scratch own in scratch)
            own.Reserve(logits.Columns * 8L);
    }

    protected override void Unit(int unit, int thread)
    {
        int count = _logits.Columns;
        Span<float> values = new(scratch[thread].Pointer, count), ranks = new((float*)scratch[thread].Pointer + count, count);
        new Span<float>(_logits[unit], count).CopyTo(values);
        RoutingMath.Gate(_routing.Gating, values);
        for (int e = 0; e < count; e++)
            ranks[e] = _bias == null ? values[e] : values[e] + _bias[e];
        RoutingMath.Choose(in _routing, ranks, values, new Span<int>(_experts[unit], _experts.Columns), new Span<float>(_weights[unit], _weights.Columns));
    }
}

/// <summary><see cref="Backend.GetRows"/>, a row at a time.</summary>
internal sealed unsafe class GetRowsJob(CpuKernels kernels, Scratch[] scratch) : UnitJob, IDisposable
{
    private readonly Scratch _indices = new();
    private Rows _y;
    private IWeightSource? _source;
    private byte* _table;
    private long _rowBytes;
    private float _scale;
    private BlockFormat _format = BlockFormats.F32;
    private CodeFormat? _codes;

    /// <summary>Describes the operation.</summary>
    public void Prepare(CpuWeight table, ReadOnlySpan<int> rows, Tensor y)
    {
        (_y, _rowBytes, _scale, _format, _codes, Units) = (new Rows(y), table.RowBytes, table.ScaleOf(0), table.Format, table.Codes, rows.Length);
        _source = table.Source.IsStored ? null : table.Source;
        _table = table.Source.IsStored ? table.Matrix(0) : null;
        rows.CopyTo(new Span<int>(_indices.Reserve(rows.Length * 4L), rows.Length));
        foreach (Scratch own in scratch)
            own.Reserve(y.Columns + (y.Columns / 2) + 64);
    }

    public void Dispose() => _indices.Dispose();

    protected override void Unit(int unit, int thread)
    {
        int index = ((int*)_indices.Pointer)[unit];
        byte* row = _table + (index * _rowBytes);
        float* y = _y[unit];
        int columns = _y.Columns;
        if (_source is { } source)
        {
            source.CopyRow(index, new Span<float>(y, columns));
        }
        else if (_codes is { } codes)
        {
            float* scales = (float*)scratch[thread].Pointer, mins = scales + (columns / 16);
            sbyte* values = (sbyte*)(mins + (columns / 16));
            codes.Unpack(row, columns, values, scales, mins);
            CodeFormats.ToFloat(values, scales, codes.HasMins ? mins : null, columns, y);
        }
        else
        {
            _format.Decode(new ReadOnlySpan<byte>(row, (int)_rowBytes), new Span<float>(y, columns));
        }

        if (_scale != 1) kernels.Scale(y, _scale, y, columns);
    }
}
