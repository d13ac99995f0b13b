using System.Collections.Immutable;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Memory;

namespace Nibble.Core.Gguf;

/// <summary>A tensor of an open file. Its bytes stay in the mapped file, which must stay open while they are used.</summary>
public sealed class GgufTensor : IWeightSource
{
    private readonly MappedFile _file;
    private readonly int _rowBytes;

    internal GgufTensor(MappedFile file, string name, BlockFormat format, ImmutableArray<long> dimensions, long fileOffset, long byteLength)
    {
        _file = file;
        Name = name;
        Format = format;
        Dimensions = dimensions;
        FileOffset = fileOffset;
        ByteLength = byteLength;
        _rowBytes = (int)format.RowBytes(dimensions[0]);
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public BlockFormat Format { get; }

    /// <summary>One to four dimensions; the first is the contiguous one.</summary>
    public ImmutableArray<long> Dimensions { get; }

    /// <inheritdoc/>
    public int Columns => (int)Dimensions[0];

    /// <inheritdoc/>
    public int Rows => Dimensions.Length > 1 ? (int)Dimensions[1] : 1;

    /// <inheritdoc/>
    public int Matrices => (int)((Dimensions.Length > 2 ? Dimensions[2] : 1) * (Dimensions.Length > 3 ? Dimensions[3] : 1));

    /// <summary>Rows of all matrices.</summary>
    public long RowCount => (long)Rows * Matrices;

    /// <summary>Bytes of all rows.</summary>
    public long ByteLength { get; }

    /// <summary>Bytes from the start of the file (of the part, in a split model) to the first row.</summary>
    public long FileOffset { get; }

    /// <inheritdoc/>
    public ReadOnlySpan<byte> Row(long row)
    {
        if ((ulong)row >= (ulong)RowCount) throw new ArgumentOutOfRangeException(nameof(row), $"row is {row}; tensor '{Name}' has {RowCount} rows.");
        return _file.Span(FileOffset + row * _rowBytes, _rowBytes);
    }

    /// <inheritdoc/>
    public void ReadRows(long row, Span<byte> to)
    {
        if (row < 0 || to.Length % _rowBytes != 0 || row > RowCount - (to.Length / _rowBytes))
            throw new ArgumentOutOfRangeException(nameof(row), $"{to.Length} bytes from row {row} on are not rows of tensor '{Name}', which has {RowCount} of {_rowBytes} bytes.");
        _file.Read(FileOffset + (row * _rowBytes), to);
    }

    /// <summary>Writes all rows to a stream.</summary>
    /// <param name="stream">Where to.</param>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public void CopyTo(Stream stream)
    {
        const int ChunkBytes = 1 << 20;
        ArgumentNullException.ThrowIfNull(stream);
        for (long offset = 0; offset < ByteLength; offset += ChunkBytes)
            stream.Write(_file.Span(FileOffset + offset, (int)Math.Min(ChunkBytes, ByteLength - offset)));
    }

    /// <summary>Name, format and dimensions, for example <c>blk.0.attn_q.weight Q4_K [2048, 2048]</c>.</summary>
    public override string ToString() => $"{Name} {Format} [{string.Join(", ", Dimensions)}]";
}
