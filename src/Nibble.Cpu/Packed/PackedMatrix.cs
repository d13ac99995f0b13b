using Nibble.Core.Formats;
using Nibble.Core.Memory;

namespace Nibble.Cpu.Packed;

/// <summary>A weight's matrices in packed order: for each 16 rows of a matrix a tile for each block of a row.</summary>
internal sealed unsafe class PackedMatrix : IDisposable
{
    private readonly NativeBuffer _memory;

    /// <summary>Memory for matrices that are yet to be packed.</summary>
    /// <param name="kernel">The format's kernels.</param>
    /// <param name="columns">Values in a row.</param>
    /// <param name="rows">Rows of a matrix.</param>
    /// <param name="matrices">Matrices.</param>
    public PackedMatrix(PackedKernel kernel, int columns, int rows, int matrices)
    {
        Kernel = kernel;
        Blocks = columns / kernel.TileColumns;
        RowTiles = (rows + 15) / 16;
        _memory = new NativeBuffer(Bytes(kernel, columns, rows, matrices), isZeroed: false);
    }

    /// <summary>The format's kernels.</summary>
    public PackedKernel Kernel { get; }

    /// <summary>Tiles in a row.</summary>
    public int Blocks { get; }

    /// <summary>16 rows each, of one matrix; the last may have fewer.</summary>
    public int RowTiles { get; }

    /// <summary>Bytes of 16 rows.</summary>
    public long RowTileBytes => (long)Blocks * Kernel.TileBytes;

    /// <summary>What was multiplied with a token after the product that this weight came first in, the last time; empty if that is not known.</summary>
    public PackedRun[] Next { get; set; } = [];

    /// <summary>Bytes of a packed weight.</summary>
    public static long Bytes(PackedKernel kernel, int columns, int rows, int matrices) =>
        (long)matrices * ((rows + 15) / 16) * (columns / kernel.TileColumns) * kernel.TileBytes;

    /// <summary>The first tile of a matrix.</summary>
    public byte* Matrix(int matrix) => _memory.Pointer + (matrix * RowTiles * RowTileBytes);

    /// <inheritdoc/>
    public void Dispose() => _memory.Dispose();
}
