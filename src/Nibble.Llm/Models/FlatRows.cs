using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Llm.Models;

/// <summary>Matrices of one row each, seen as the rows of one matrix.</summary>
/// <param name="source">The matrices.</param>
internal sealed class FlatRows(IWeightSource source) : IWeightSource
{
    /// <inheritdoc/>
    public string Name => source.Name;

    /// <inheritdoc/>
    public BlockFormat Format => source.Format;

    /// <inheritdoc/>
    public int Columns => source.Columns;

    /// <inheritdoc/>
    public int Rows => source.Rows * source.Matrices;

    /// <inheritdoc/>
    public int Matrices => 1;

    /// <inheritdoc/>
    public bool IsStored => source.IsStored;

    /// <inheritdoc/>
    public long ByteLength => source.ByteLength;

    /// <inheritdoc/>
    public ReadOnlySpan<byte> Row(long row) => source.Row(row);

    /// <inheritdoc/>
    public void CopyRow(long row, Span<float> values) => source.CopyRow(row, values);
}
