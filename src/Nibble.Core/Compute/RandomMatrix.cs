using Nibble.Core.Formats;
using Nibble.Core.Memory;

namespace Nibble.Core.Compute;

/// <summary>A matrix of random codes (<see cref="RandomBlocks"/>) in memory of its own, to measure products with.</summary>
public sealed class RandomMatrix : IWeightSource, IDisposable
{
    private readonly NativeBuffer _bytes;
    private readonly int _rowBytes;

    /// <summary>Draws a matrix whose values have the deviation 1 / sqrt(columns), as a trained one has about.</summary>
    /// <param name="format">Its format.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Values in a row: a multiple of the format's block.</param>
    /// <param name="seed">Seed; matrices of different ones have no row in common.</param>
    /// <exception cref="ArgumentException">The columns are no multiple of the format's block.</exception>
    /// <exception cref="InsufficientMemoryException">There is no memory for it.</exception>
    public RandomMatrix(BlockFormat format, int rows, int columns, int seed = 0)
    {
        ArgumentNullException.ThrowIfNull(format);
        (Format, Rows, Columns) = (format, rows, columns);
        _rowBytes = checked((int)format.RowBytes(columns));
        _bytes = new NativeBuffer((long)rows * _rowBytes, isZeroed: false);

        // Row by row, for a span holds no more than 2 GiB.
        for (int row = 0; row < rows; row++)
            RandomBlocks.Fill(format, Bytes(row), 1 / Math.Sqrt(columns), ((ulong)seed << 32) + (ulong)row);
    }

    private RandomMatrix(RandomMatrix other)
    {
        (Format, Rows, Columns, _rowBytes) = (other.Format, other.Rows, other.Columns, other._rowBytes);
        _bytes = new NativeBuffer(other._bytes.Length, isZeroed: false);
        for (int row = 0; row < Rows; row++)
            other.Row(row).CopyTo(Bytes(row));
    }

    /// <inheritdoc/>
    public string Name => $"random {Format} [{Rows} x {Columns}]";

    /// <inheritdoc/>
    public BlockFormat Format { get; }

    /// <inheritdoc/>
    public int Columns { get; }

    /// <inheritdoc/>
    public int Rows { get; }

    /// <inheritdoc/>
    public int Matrices => 1;

    /// <summary>The same values in other memory.</summary>
    public RandomMatrix Copy() => new(this);

    /// <inheritdoc/>
    public ReadOnlySpan<byte> Row(long row) => Bytes(row);

    /// <inheritdoc/>
    public void Dispose() => _bytes.Dispose();

    private Span<byte> Bytes(long row) => _bytes.Span<byte>(row * _rowBytes, _rowBytes);
}
