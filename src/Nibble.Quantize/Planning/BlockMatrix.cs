using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Memory;

namespace Nibble.Quantize.Planning;

/// <summary>A tensor's blocks in memory, to compute with them in the place of a file's.</summary>
internal sealed class BlockMatrix : IWeightSource, IDisposable
{
    private readonly NativeBuffer _bytes;
    private readonly int _rowBytes;

    /// <summary>Makes room for a tensor in another format.</summary>
    /// <param name="source">The tensor.</param>
    /// <param name="format">The format.</param>
    /// <exception cref="InsufficientMemoryException">There is no memory for it.</exception>
    public BlockMatrix(IWeightSource source, BlockFormat format)
    {
        (Name, Rows, Columns, Matrices, Format) = (source.Name, source.Rows, source.Columns, source.Matrices, format);
        _rowBytes = checked((int)format.RowBytes(Columns));
        _bytes = new NativeBuffer(_rowBytes * (long)Rows * Matrices, isZeroed: false);
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public BlockFormat Format { get; }

    /// <inheritdoc/>
    public int Columns { get; }

    /// <inheritdoc/>
    public int Rows { get; }

    /// <inheritdoc/>
    public int Matrices { get; }

    /// <inheritdoc/>
    public ReadOnlySpan<byte> Row(long row)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(row);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(row, (long)Rows * Matrices);
        return _bytes.Span<byte>(row * _rowBytes, _rowBytes);
    }

    /// <summary>Takes a matrix in.</summary>
    /// <param name="matrix">Which.</param>
    /// <param name="blocks">[rows x bytes of a row].</param>
    public void Set(int matrix, ReadOnlySpan<byte> blocks)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(blocks.Length, (long)Rows * _rowBytes);
        blocks.CopyTo(_bytes.Span<byte>((long)matrix * Rows * _rowBytes, blocks.Length));
    }

    /// <inheritdoc/>
    public void Dispose() => _bytes.Dispose();
}
