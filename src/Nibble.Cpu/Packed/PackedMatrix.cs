using Nibble.Core.Encodings;
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
    /// <param name="arena">Where the memory comes from.</param>
    /// <param name="source">The weight where it is an encoded one: it may have an order of columns, and some of them apart.</param>
    public PackedMatrix(PackedKernel kernel, int columns, int rows, int matrices, NativeArena arena, EncodedTensor? source = null)
        : this(kernel, columns, rows, Bytes(kernel, columns, rows, matrices))
    {
        _memory = arena.Allocate(Length);
        _first = _memory.Pointer;
        if (source is null) return;
        if (source.OutlierColumns.Length > 0) Outliers = new OutlierColumns(source);
        if (Outliers is null && source.ColumnOrder.IsEmpty) return;
        Columns = new NativeBuffer((long)columns * sizeof(int));
        Span<int> order = new(Columns.Pointer, columns);
        for (int c = 0; c < columns; c++)
        {
            int column = source.ColumnOrder.IsEmpty ? c : source.ColumnOrder[c];
            order[c] = source.OutlierColumns.BinarySearch(column) < 0 ? column : -1;
        }
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

    /// <summary>int32 [columns]: the column of each packed one, -1 where it counts among <see cref="Outliers"/>; null where columns are in order.</summary>
    public NativeBuffer? Columns { get; }

    /// <summary>Columns that are multiplied in float32, or null.</summary>
    public OutlierColumns? Outliers { get; }

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
        Columns?.Dispose();
        Outliers?.Dispose();
        _file?.Release();
    }
}
