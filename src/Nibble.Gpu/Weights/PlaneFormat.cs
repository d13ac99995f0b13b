using System.Collections.Immutable;

namespace Nibble.Gpu.Weights;

/// <summary>What a plane's codes are; the numbers are those of native/opencl/planes.cl.</summary>
internal enum PlaneCode
{
    Bits4 = 4,
    Bits5 = 5,
    Bits6 = 6,
    SignedByte = 8,
    Half = 16,
    UpperHalf = 17,
    Single = 32,
}

/// <summary>How scales are stored; the numbers are those of native/opencl/planes.cl.</summary>
internal enum PlaneScale
{
    None = 0,
    Half = 1,
    HalfAndMin = 2,
    BytesAndMins = 3,
    SignedBytes = 4,
    Exponent = 5,
    Single = 6,
    SingleAndZero = 7,
}

/// <summary>One plane of a matrix: elements, each of which serves some columns of a row.</summary>
/// <param name="ElementBytes">Bytes of an element; 0 where the format has no such plane.</param>
/// <param name="Columns">Columns that an element serves.</param>
internal readonly record struct PlaneShape(int ElementBytes, int Columns)
{
    /// <summary>Elements of a row.</summary>
    public int Elements(int columns) => ElementBytes == 0 ? 0 : (columns + Columns - 1) / Columns;
}

/// <summary>
/// How a matrix lies in a device's memory: tiles of 16 rows, each of which is planes of codes and scales; in a plane the rows are beside one another, so that neighbouring work-items read neighbouring bytes.
/// native/opencl/planes.cl describes the planes and what a value is.
/// </summary>
/// <param name="Code">What codes are.</param>
/// <param name="Scale">What scales are.</param>
/// <param name="Group">Columns that share a scale.</param>
/// <param name="Offset">What is taken off a code.</param>
/// <param name="HasTable">Whether codes are looked up in a table of 16 values.</param>
internal sealed record PlaneFormat(PlaneCode Code, PlaneScale Scale = PlaneScale.None, int Group = 8, int Offset = 0, bool HasTable = false)
{
    /// <summary>Planes of every format, whether it uses them or not.</summary>
    public const int PlaneCount = 6;

    /// <summary>Rows of a tile, the widest vector of the kernels. Rows are padded to a multiple.</summary>
    public const int TileRows = 16;

    // A plane starts where the widest vector may.
    private const int PlaneAlignment = 64;

    /// <summary>[<see cref="PlaneCount"/>] codes, their higher bits, then what the kernel calls a, b, c and d.</summary>
    public ImmutableArray<PlaneShape> Planes { get; } = PlanesOf(Code, Scale, Group);

    /// <summary>Whether values are codes with scales, not floats.</summary>
    public bool HasCodes => Code is PlaneCode.Bits4 or PlaneCode.Bits5 or PlaneCode.Bits6 or PlaneCode.SignedByte;

    /// <summary>The macros that make the kernel one of this format.</summary>
    public string[] Defines => [$"CODE={(int)Code}", $"SCALE={(int)Scale}", $"GROUP={Group}", $"OFFSET={Offset}", $"TABLE={(HasTable ? 1 : 0)}"];

    /// <summary>Whether the two are one format: the planes follow from the rest.</summary>
    public bool Equals(PlaneFormat? other) =>
        other is not null && (Code, Scale, Group, Offset, HasTable) == (other.Code, other.Scale, other.Group, other.Offset, other.HasTable);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Code, Scale, Group, Offset, HasTable);

    /// <summary>Rows with those that pad them.</summary>
    public static int Padded(int rows) => checked(rows + TileRows - 1) & -TileRows;

    /// <summary>Bytes of one matrix.</summary>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Columns.</param>
    public long MatrixBytes(int rows, int columns)
    {
        Span<long> starts = stackalloc long[PlaneCount];
        return checked(Starts(columns, starts) * (Padded(rows) / TileRows));
    }

    /// <summary>Where the planes of a tile start.</summary>
    /// <param name="columns">Columns.</param>
    /// <param name="starts">[<see cref="PlaneCount"/>] bytes from the tile's start, overwritten.</param>
    /// <returns>Bytes of a tile.</returns>
    public long Starts(int columns, Span<long> starts)
    {
        long bytes = 0;
        for (int i = 0; i < PlaneCount; i++)
        {
            starts[i] = bytes;
            bytes = checked(bytes + (((long)Planes[i].Elements(columns) * TileRows * Planes[i].ElementBytes + PlaneAlignment - 1) & -PlaneAlignment));
        }

        return bytes;
    }

    private static ImmutableArray<PlaneShape> PlanesOf(PlaneCode code, PlaneScale scale, int group)
    {
        (PlaneShape codes, PlaneShape high) = code switch
        {
            PlaneCode.Bits4 => (new PlaneShape(4, 8), default(PlaneShape)),
            PlaneCode.Bits5 => (new PlaneShape(4, 8), new PlaneShape(1, 8)),
            PlaneCode.Bits6 => (new PlaneShape(4, 8), new PlaneShape(2, 8)),
            PlaneCode.SignedByte => (new PlaneShape(4, 4), default),
            PlaneCode.Half or PlaneCode.UpperHalf => (new PlaneShape(2, 1), default),
            _ => (new PlaneShape(4, 1), default),
        };
        PlaneShape bytes = new(1, group), halves = new(2, group), super = new(2, 256), singles = new(4, group);
        return scale switch
        {
            PlaneScale.None => [codes, high, default, default, default, default],
            PlaneScale.Half => [codes, high, halves, default, default, default],
            PlaneScale.HalfAndMin => [codes, high, halves, halves, default, default],
            PlaneScale.BytesAndMins => [codes, high, super, super, bytes, bytes],
            PlaneScale.SignedBytes => [codes, high, super, bytes, default, default],
            PlaneScale.Exponent => [codes, high, bytes, default, default, default],
            PlaneScale.Single => [codes, high, singles, default, default, default],
            _ => [codes, high, singles, singles, default, default],
        };
    }
}
