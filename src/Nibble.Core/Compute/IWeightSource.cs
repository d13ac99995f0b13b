using System.Collections.Immutable;
using Nibble.Core.Formats;

namespace Nibble.Core.Compute;

/// <summary>Weights as a file or a generator has them: one matrix, or several of one shape (the experts of a layer).</summary>
public interface IWeightSource
{
    /// <summary>The tensor's name, used in errors and reports.</summary>
    string Name { get; }

    /// <summary>How the rows are stored.</summary>
    BlockFormat Format { get; }

    /// <summary>Values in a row: the contiguous, input dimension.</summary>
    int Columns { get; }

    /// <summary>Rows of one matrix: the output dimension. 1 for a vector.</summary>
    int Rows { get; }

    /// <summary>Matrices; 1 unless the tensor holds experts.</summary>
    int Matrices { get; }

    /// <summary>Whether a row is blocks of <see cref="Format"/>, which <see cref="Row"/> gives. If not, its values are put together from several places, and only <see cref="CopyRow"/> gives them.</summary>
    bool IsStored => true;

    /// <summary>What activations are rounded to whole multiples of before they meet these weights (<see cref="InputRounding"/>); 0 where a backend rounds them as it likes, or not at all.</summary>
    float InputScale => 0;

    /// <summary>Rows of all matrices.</summary>
    long RowCount => (long)Rows * Matrices;

    /// <summary>The shape as files list it: columns, rows, matrices, those of 1 at the end left out.</summary>
    ImmutableArray<long> Dimensions => Matrices > 1 ? [Columns, Rows, Matrices] : Rows > 1 ? [Columns, Rows] : [Columns];

    /// <summary>Bytes of all rows, and of whatever else is needed to decode them.</summary>
    long ByteLength => Format.RowBytes(Columns) * RowCount;

    /// <summary>The bytes of one row. They do not move, and stay valid while the owner (an open file) is open, so a backend may use them in place.</summary>
    /// <param name="row">0 to <see cref="Matrices"/> x <see cref="Rows"/> - 1; rows follow one another without a gap, matrix by matrix.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such row.</exception>
    /// <exception cref="ObjectDisposedException">The owner was closed.</exception>
    /// <exception cref="NotSupportedException">Rows are not stored as blocks.</exception>
    ReadOnlySpan<byte> Row(long row);

    /// <summary>Copies the bytes of rows that follow one another, for who looks at them once.</summary>
    /// <param name="row">The first, 0 to <see cref="RowCount"/> - 1.</param>
    /// <param name="to">[rows x bytes of a row], overwritten.</param>
    /// <exception cref="ArgumentOutOfRangeException">There are no such rows.</exception>
    /// <exception cref="ObjectDisposedException">The owner was closed.</exception>
    /// <exception cref="NotSupportedException">Rows are not stored as blocks.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    void ReadRows(long row, Span<byte> to)
    {
        for (; !to.IsEmpty; row++)
        {
            ReadOnlySpan<byte> bytes = Row(row);
            bytes.CopyTo(to);
            to = to[bytes.Length..];
        }
    }

    /// <summary>Decodes one row.</summary>
    /// <param name="row">0 to <see cref="RowCount"/> - 1.</param>
    /// <param name="values">[columns] float32, overwritten.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such row.</exception>
    /// <exception cref="ArgumentException"><paramref name="values"/> has another length.</exception>
    /// <exception cref="ObjectDisposedException">The owner was closed.</exception>
    void CopyRow(long row, Span<float> values) => Format.Decode(Row(row), values);

    /// <summary>Writes everything that the values depend on: all rows, one after the other, where they are stored as blocks.</summary>
    /// <param name="stream">Where to.</param>
    /// <exception cref="ObjectDisposedException">The owner was closed.</exception>
    void CopyTo(Stream stream)
    {
        ArgumentNullException.ThrowIfNull(stream);
        for (long row = 0; row < RowCount; row++)
            stream.Write(Row(row));
    }
}
