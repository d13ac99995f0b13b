using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Cpu.Codes;
using Nibble.Cpu.Kernels;
using Nibble.Cpu.Threading;

namespace Nibble.Cpu.Jobs;

/// <summary><see cref="Backend.RmsNorm"/>, a row at a time.</summary>
internal sealed unsafe class NormJob(CpuKernels kernels) : UnitJob
{
    private Rows _x, _y;
    private float* _gain;
    private float _epsilon;

    public void Prepare(Tensor x, float* gain, float epsilon, Tensor y)
    {
        (_x, _y, _epsilon, Units) = (new Rows(x), new Rows(y), epsilon, x.Rows);
        _gain = gain;
    }

    protected override void Unit(int unit, int thread) => kernels.Norm(_x[unit], _gain, _epsilon, _y[unit], _x.Columns);
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
        (_x, _headSize, _pairs) = (new Rows(x), headSize, rope.Frequencies.Length);
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
                if (_rope!.Pairing == RopePairing.Halves) Rotation.Halves(x + head, cosine, sine, _pairs);
                else Rotation.Adjacent(x + head, cosine, sine, _pairs);
        }
    }

    public void Dispose() => _table.Dispose();
}

/// <summary><see cref="Backend.StoreKv"/>, a token at a time.</summary>
internal sealed unsafe class StoreJob : UnitJob
{
    private Rows _keys, _values;
    private byte* _keyRows, _valueRows;
    private int _keyBytes, _valueBytes;
    private BlockFormat _format = BlockFormats.F32;

    /// <summary>Describes the operation.</summary>
    public void Prepare(Tensor keys, Tensor values, HostKvCache cache, int layer, int firstPosition)
    {
        (_keys, _values, _format, Units) = (new Rows(keys), new Rows(values), cache.Format, keys.Rows);
        (_keyBytes, _valueBytes) = (cache.RowBytes(layer, false), cache.RowBytes(layer, true));
        _keyRows = cache.Pointer(layer, false) + ((long)firstPosition * _keyBytes);
        _valueRows = cache.Pointer(layer, true) + ((long)firstPosition * _valueBytes);
    }

    protected override void Unit(int unit, int thread)
    {
        KvRows.Encode(_format, _keys[unit], _keys.Columns, _keyRows + ((long)unit * _keyBytes));
        KvRows.Encode(_format, _values[unit], _values.Columns, _valueRows + ((long)unit * _valueBytes));
    }
}

/// <summary><see cref="Backend.GetRows"/>, a row at a time.</summary>
internal sealed unsafe class GetRowsJob(CpuKernels kernels, Scratch[] scratch) : UnitJob, IDisposable
{
    private readonly Scratch _indices = new();
    private Rows _y;
    private byte* _table;
    private long _rowBytes;
    private float _scale;
    private BlockFormat _format = BlockFormats.F32;
    private CodeFormat? _codes;

    /// <summary>Describes the operation.</summary>
    public void Prepare(CpuWeight table, ReadOnlySpan<int> rows, Tensor y)
    {
        (_y, _rowBytes, _scale, _format, _codes, Units) = (new Rows(y), table.RowBytes, table.ScaleOf(0), table.Format, table.Codes, rows.Length);
        _table = table.Matrix(0);
        rows.CopyTo(new Span<int>(_indices.Reserve(rows.Length * 4L), rows.Length));
        foreach (Scratch own in scratch)
            own.Reserve(y.Columns + (y.Columns / 2) + 64);
    }

    public void Dispose() => _indices.Dispose();

    protected override void Unit(int unit, int thread)
    {
        byte* row = _table + (((int*)_indices.Pointer)[unit] * _rowBytes);
        float* y = _y[unit];
        int columns = _y.Columns;
        if (_codes is { } codes)
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

/// <summary>The rows of a tensor in host memory.</summary>
internal readonly unsafe struct Rows
{
    private readonly float* _first;
    private readonly long _stride;

    public Rows(Tensor tensor)
    {
        _first = HostTensorBuffer.Pointer(tensor);
        (_stride, Count, Columns) = (tensor.Stride, tensor.Rows, tensor.Columns);
    }

    public int Count { get; }

    public int Columns { get; }

    public float* this[int row] => _first + (row * _stride);
}
