using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Memory;

namespace Nibble.Benchmarks;

/// <summary>A matrix of random codes in memory of its own.</summary>
internal sealed class RandomWeights : IWeightSource, IDisposable
{
    private readonly NativeBuffer _bytes;
    private readonly int _rowBytes;

    /// <summary>Draws a matrix whose values have the deviation 1 / sqrt(columns), as a trained one has about.</summary>
    /// <param name="format">Its format.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Columns.</param>
    /// <param name="seed">Seed.</param>
    public RandomWeights(BlockFormat format, int rows, int columns, int seed)
    {
        (Format, Rows, Columns) = (format, rows, columns);
        _rowBytes = checked((int)format.RowBytes(columns));
        _bytes = new NativeBuffer((long)rows * _rowBytes);
        // A span holds no more than 2 GiB.
        for (int row = 0; row < rows; row++)
            RandomBlocks.Fill(format, _bytes.Span<byte>((long)row * _rowBytes, _rowBytes), 1 / Math.Sqrt(columns), (ulong)((seed << 24) + row));
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

    /// <inheritdoc/>
    public ReadOnlySpan<byte> Row(long row) => _bytes.Span<byte>(row * _rowBytes, _rowBytes);

    /// <inheritdoc/>
    public void Dispose() => _bytes.Dispose();
}
