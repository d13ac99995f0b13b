using System.Buffers;
using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Core.Encodings;

/// <summary>An encoded tensor: an encoding and its parts, of an open file or in memory. Parts were checked against the encoding; what is in files stays there.</summary>
public sealed partial class EncodedTensor : IWeightSource
{
    private readonly EncodedData _data;
    private readonly int[] _rowOrder, _columnOrder, _outlierColumns;

    /// <summary>Puts parts together.</summary>
    /// <param name="encoding">The description.</param>
    /// <param name="data">The parts.</param>
    /// <exception cref="ArgumentException">A part is missing, or has another length, or is not part of the encoding, or an order is no permutation; the message names tensor, value and bound.</exception>
    public EncodedTensor(TensorEncoding encoding, EncodedData data)
    {
        ArgumentNullException.ThrowIfNull(encoding);
        ArgumentNullException.ThrowIfNull(data);
        encoding.Check();
        IReadOnlyList<EncodedPartShape> parts = encoding.Parts();
        foreach (EncodedPartShape part in parts)
            data.Check(encoding.Name, part);
        foreach (EncodedPart part in data.Parts)
            if (parts.All(known => known.Part != part)) throw new ArgumentException($"{encoding.Name} has {EncodedPartShape.SuffixOf(part)}, which its encoding '{encoding.ToText()}' does not know.");
        Encoding = encoding;
        Format = EncodedFormat.Of(encoding);
        _data = data;
        _rowOrder = encoding.HasRowOrder ? Permutation(EncodedPart.RowOrder, encoding.Rows) : [];
        _columnOrder = encoding.HasColumnOrder ? Permutation(EncodedPart.ColumnOrder, encoding.Columns) : [];
        _outlierColumns = encoding.Outliers > 0 ? Ascending(EncodedPart.OutlierColumns, encoding.Columns) : [];
        if (!encoding.HasInputScale) return;
        InputScale = _data.Row<float>(EncodedPart.InputScale, 0)[0];
        if (!InputRounding.IsScale(InputScale))
            throw new ArgumentException($"{Name}.{EncodedPartShape.SuffixOf(EncodedPart.InputScale)} is {InputScale}; {InputRounding.LeastScale} to {InputRounding.MostScale} are possible.");
    }

    /// <summary>How it is stored.</summary>
    public TensorEncoding Encoding { get; }

    /// <summary>The tensor's name.</summary>
    public string Name => Encoding.Name;

    /// <summary>The encoding's name among formats: nothing decodes with it.</summary>
    public BlockFormat Format { get; }

    /// <summary>Values in a row.</summary>
    public int Columns => Encoding.Columns;

    /// <summary>Rows of one matrix.</summary>
    public int Rows => Encoding.Rows;

    /// <inheritdoc/>
    public bool IsStored => false;

    /// <summary>Matrices; 1 unless the tensor holds experts.</summary>
    public int Matrices => Encoding.Matrices;

    /// <inheritdoc/>
    public float InputScale { get; }

    /// <summary>Rows of all matrices.</summary>
    public long RowCount => (long)Rows * Matrices;

    /// <summary>Bytes of all parts.</summary>
    public long ByteLength => Encoding.ByteLength;

    /// <summary>Bytes from the start of the file to the codes; 0 where they are in memory.</summary>
    public long FileOffset => _data.FileOffset(EncodedPart.Codes);

    /// <summary>The parts' bytes.</summary>
    internal EncodedData Data => _data;

    /// <summary>Decodes a row: its columns in their order, outliers in their places, exactly by the encoding's formula in float32.</summary>
    /// <param name="row">0 to <see cref="RowCount"/> - 1.</param>
    /// <param name="values">[columns] float32, overwritten.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such row.</exception>
    /// <exception cref="ArgumentException"><paramref name="values"/> has another length.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public void DecodeRow(long row, Span<float> values)
    {
        if (values.Length != Columns) throw new ArgumentException($"the span holds {values.Length} values; a row of {Name} has {Columns}.", nameof(values));
        long stored = StoredRow(row);
        if (_columnOrder.Length == 0)
        {
            Encoding.Decode(_data, stored, values);
        }
        else
        {
            float[] buffer = ArrayPool<float>.Shared.Rent(Columns);
            Encoding.Decode(_data, stored, buffer.AsSpan(0, Columns));
            for (int j = 0; j < _columnOrder.Length; j++)
                values[_columnOrder[j]] = buffer[j];
            ArrayPool<float>.Shared.Return(buffer);
        }

        for (int k = 0; k < _outlierColumns.Length; k++)
            values[_outlierColumns[k]] = new ScalarRow(Encoding.OutlierFormat, _data.Row(EncodedPart.OutlierValues, k))[stored];
    }

    /// <inheritdoc/>
    void IWeightSource.CopyRow(long row, Span<float> values) => DecodeRow(row, values);

    /// <inheritdoc/>
    ReadOnlySpan<byte> IWeightSource.Row(long row) => throw new NotSupportedException($"{Name} is encoded as {Encoding.Title}, and a row of it lies in several parts; {nameof(DecodeRow)} gives its values.");

    /// <summary>Writes the description and the bytes of all parts.</summary>
    /// <param name="stream">Where to.</param>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public void CopyTo(Stream stream)
    {
        ArgumentNullException.ThrowIfNull(stream);
        stream.Write(System.Text.Encoding.UTF8.GetBytes(Encoding.ToText()));
        foreach (EncodedPartShape part in Encoding.Parts())
            _data.CopyTo(part.Part, stream);
    }

    /// <summary>Name, encoding and shape, for example <c>blk.0.attn_q.weight nf4 b64 [2048, 2048]</c>.</summary>
    public override string ToString() => $"{Name} {Encoding.Title} [{Columns}, {Rows}{(Matrices > 1 ? $", {Matrices}" : "")}]";

    /// <summary>The stored row of a row.</summary>
    private long StoredRow(long row)
    {
        if ((ulong)row >= (ulong)RowCount) throw new ArgumentOutOfRangeException(nameof(row), $"row is {row}; tensor '{Name}' has {RowCount} rows.");
        return _rowOrder.Length == 0 ? row : row - (row % Rows) + _rowOrder[(int)(row % Rows)];
    }

    private int[] Permutation(EncodedPart part, int count)
    {
        int[] order = _data.Row<int>(part, 0).ToArray();
        bool[] seen = new bool[count];
        for (int i = 0; i < order.Length; i++)
        {
            if ((uint)order[i] >= (uint)count) throw new ArgumentException($"{Name}.{EncodedPartShape.SuffixOf(part)}[{i}] is {order[i]}; 0 to {count - 1} are possible.");
            if (seen[order[i]]) throw new ArgumentException($"{Name}.{EncodedPartShape.SuffixOf(part)}[{i}] is {order[i]}, which is there already; each of 0 to {count - 1} must be there once.");
            seen[order[i]] = true;
        }

        return order;
    }

    private int[] Ascending(EncodedPart part, int count)
    {
        int[] columns = _data.Row<int>(part, 0).ToArray();
        int lowest = 0;
        for (int i = 0; i < columns.Length; i++)
        {
            if (columns[i] < lowest || columns[i] >= count)
                throw new ArgumentException($"{Name}.{EncodedPartShape.SuffixOf(part)}[{i}] is {columns[i]}; {lowest} to {count - 1} are possible, in ascending order.");
            lowest = columns[i] + 1;
        }

        return columns;
    }
}
