using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Llm.Models;

/// <summary>Weights of zeros, which take no memory but that of a row.</summary>
/// <param name="name">Name.</param>
/// <param name="columns">Values in a row.</param>
/// <param name="rows">Rows of a matrix.</param>
/// <param name="matrices">Matrices.</param>
internal sealed class Zeros(string name, int columns, int rows, int matrices) : IWeightSource
{
    // Pinned, for a backend may use rows in place.
    private readonly byte[] _row = GC.AllocateArray<byte>(checked((int)BlockFormats.F32.RowBytes(columns)), pinned: true);

    /// <inheritdoc/>
    public string Name => name;

    /// <inheritdoc/>
    public BlockFormat Format => BlockFormats.F32;

    /// <inheritdoc/>
    public int Columns => columns;

    /// <inheritdoc/>
    public int Rows => rows;

    /// <inheritdoc/>
    public int Matrices => matrices;

    /// <inheritdoc/>
    public ReadOnlySpan<byte> Row(long row)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(row);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(row, (long)rows * matrices);
        return _row;
    }
}
