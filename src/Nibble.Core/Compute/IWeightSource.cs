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

    /// <summary>The bytes of one row. They do not move, and stay valid while the owner (an open file) is open, so a backend may use them in place.</summary>
    /// <param name="row">0 to <see cref="Matrices"/> x <see cref="Rows"/> - 1; rows follow one another without a gap, matrix by matrix.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such row.</exception>
    /// <exception cref="ObjectDisposedException">The owner was closed.</exception>
    ReadOnlySpan<byte> Row(long row);
}
