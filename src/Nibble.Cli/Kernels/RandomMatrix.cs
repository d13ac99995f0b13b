using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Memory;

namespace Nibble.Cli.Kernels;

/// <summary>A matrix of random codes in memory of its own.</summary>
internal sealed class RandomMatrix : IWeightSource, IDisposable
{
    private readonly NativeBuffer _bytes;
    private readonly int _rowBytes;

    /// <summary>Draws a matrix whose values have the deviation 1 / sqrt(columns), as a trained one has about.</summary>
    public RandomMatrix(BlockFormat format, KernelShape shape)
    {
        (Format, Rows, Columns) = (format, shape.Rows, shape.Columns);
        _rowBytes = checked((int)format.RowBytes(Columns));
        _bytes = new NativeBuffer((long)Rows * _rowBytes, isZeroed: false);
        for (int row = 0; row < Rows; row++)
            RandomBlocks.Fill(format, Bytes(row), 1 / Math.Sqrt(Columns), (ulong)row);
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
