namespace Nibble.Quantize.Methods;

/// <summary>Integers of 2 to 8 bits in groups along the columns, value = scale·(code − zero): a float16 scale and, where asymmetric, an integer zero for each group. Symmetric codes are centred: zero is 2^(bits−1).</summary>
public sealed class IntegerGrid : RoundingGrid
{
    private static readonly int[] UsualGroups = [32, 64, 128];

    /// <summary>A grid for a matrix.</summary>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Columns.</param>
    /// <param name="bits">2 to 8.</param>
    /// <param name="group">Columns of a group; it divides the columns, and may be all of them.</param>
    /// <param name="symmetric">Whether the zero is in the middle.</param>
    /// <exception cref="ArgumentException">The bits are out of range, or the group does not divide the columns; those of 32, 64 and 128 that do are named.</exception>
    public IntegerGrid(int rows, int columns, int bits, int group, bool symmetric)
        : base(rows, columns, ShapeOf(columns, bits, group, symmetric)) =>
        (Bits, Group, IsSymmetric) = (bits, group, symmetric);

    /// <summary>Bits of a code.</summary>
    public int Bits { get; }

    /// <summary>Columns of a group.</summary>
    public int Group { get; }

    /// <summary>Whether every zero is 2^(bits−1).</summary>
    public bool IsSymmetric { get; }

    /// <summary>[rows x groups], above 0; each is a float16.</summary>
    public float[] Scales => BlockScales;

    /// <summary>[rows x groups], the code that stands for 0.</summary>
    public byte[] Zeros => GroupZeros;

    private static GridShape ShapeOf(int columns, int bits, int group, bool symmetric)
    {
        if (bits is < 2 or > 8)
            throw new ArgumentException($"Codes have 2 to 8 bits, not {bits}.", nameof(bits));
        if (columns > 0 && (group <= 0 || columns % group != 0))
            throw NoDivisor(nameof(group), group, columns, UsualGroups);
        return new GridShape(GridLevels.Even(0, (1 << bits) - 1), group) { HasZeros = !symmetric, Zero = symmetric ? 1 << (bits - 1) : 0, EmptyScale = 1 };
    }
}
