using Nibble.Core.Memory;
using Nibble.Cpu.Caching;

namespace Nibble.Cpu.Packed;

/// <summary>A weight's matrices in packed order: for each 16 rows of a matrix a tile for each block of a row.</summary>
internal sealed unsafe class PackedMatrix : IDisposable
{
    private readonly NativeBuffer? _memory;
    private readonly PackedFile? _file;
    private byte* _first;

    /// <summary>Memory for matrices that are yet to be packed.</summary>
    /// <param name="kernel">The format's kernels.</param>
    /// <param name="columns">Values in a row.</param>
    /// <param name="rows">Rows of a matrix.</param>
    /// <param name="matrices">Matrices.</param>
    public PackedMatrix(PackedKernel kernel, int columns, int rows, int matrices)
        : this(kernel, columns, rows, Bytes(kernel, columns, rows, matrices))
    {
        _memory = new NativeBuffer(Length, isZeroed: false);
        _first = _memory.Pointer;
    }

    /// <summary>Matrices that lie packed in a file, of which they keep the mapping.</summary>
    /// <param name="kernel">The format's kernels.</param>
    /// <param name="columns">Values in a row.</param>
    /// <param name="rows">Rows of a matrix.</param>
    /// <param name="matrices">Matrices.</param>
    /// <param name="file">The file.</param>
    /// <param name="entry">Where in it.</param>
    public PackedMatrix(PackedKernel kernel, int columns, int rows, int matrices, PackedFile file, PackedEntry entry)
        : this(kernel, columns, rows, Bytes(kernel, columns, rows, matrices))
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(entry.Length, Length);
        _file = file.Retain();
        _first = file.Data(entry);
    }

    private PackedMatrix(PackedKernel kernel, int columns, int rows, long length)
    {
        Kernel = kernel;
        Blocks = columns / kernel.TileColumns;
        RowTiles = (rows + 15) / 16;
        Length = length;
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

    /// <summary>Bytes of all matrices.</summary>
    public long Length { get; }

    /// <summary>Bytes of a packed weight.</summary>
    public static long Bytes(PackedKernel kernel, int columns, int rows, int matrices) =>
        (long)matrices * ((rows + 15) / 16) * (columns / kernel.TileColumns) * kernel.TileBytes;

    /// <summary>The first tile of a matrix.</summary>
    /// <exception cref="ObjectDisposedException">The memory was freed.</exception>
    public byte* Matrix(int matrix)
    {
        ObjectDisposedException.ThrowIf(_first == null, this);
        return _first + (matrix * RowTiles * RowTileBytes);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_first == null) return;
        _first = null;
        _memory?.Dispose();
        _file?.Release();
    }
}
