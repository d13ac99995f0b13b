namespace Nibble.Cpu.Caching;

/// <summary>A weight in a <see cref="PackedFile"/>: what it was packed from, and where it lies.</summary>
internal sealed record PackedEntry
{
    // What is looked at of weights whose file has the size and date it had before.
    private const int EndBytes = 4096;

    /// <summary>The tensor's name.</summary>
    public required string Name { get; init; }

    /// <summary>The name of the tensor's format.</summary>
    public required string Format { get; init; }

    /// <summary>Values in a row.</summary>
    public required int Columns { get; init; }

    /// <summary>Rows of a matrix.</summary>
    public required int Rows { get; init; }

    /// <summary>Matrices.</summary>
    public required int Matrices { get; init; }

    /// <summary>Bytes from the file's start: a multiple of <see cref="PackedFile.PageBytes"/>.</summary>
    public required long Offset { get; init; }

    /// <summary>Bytes of the packed weight; 0 where its values have no packed order.</summary>
    public required long Length { get; init; }

    /// <summary><see cref="EndsOf"/> the tensor.</summary>
    public required ulong Ends { get; init; }

    /// <summary>Hash of all bytes of the tensor.</summary>
    public required ulong Source { get; init; }

    /// <summary>Hash of the packed bytes.</summary>
    public required ulong Packed { get; init; }

    /// <summary>Hash of the first and the last page of bytes.</summary>
    /// <param name="data">The first byte.</param>
    /// <param name="length">Bytes.</param>
    public static unsafe ulong EndsOf(byte* data, long length)
    {
        long count = Math.Min(EndBytes, length);
        return Xxh64.Hash(data + length - count, count, Xxh64.Hash(data, count, 0));
    }

    /// <summary>Whether the weight is of this name, format and shape.</summary>
    public bool Fits(string name, string format, int columns, int rows, int matrices) => (Name, Format, Columns, Rows, Matrices) == (name, format, columns, rows, matrices);
}
