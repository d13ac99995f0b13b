namespace Nibble.Quantize.Methods;

/// <summary>Codes of a table of up to 16 numbers in blocks along the columns, value = scale·table[code]: NF4 and FP4.</summary>
public sealed class TableGrid : RoundingGrid
{
    private static readonly int[] UsualBlocks = [32, 64, 128];

    private readonly byte[] _codes;

    /// <summary>A grid for a matrix.</summary>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Columns.</param>
    /// <param name="table">1 to 16 finite numbers, in the order of their codes.</param>
    /// <param name="block">Columns of a block; it divides the columns.</param>
    /// <param name="halfScales">Whether scales are stored as float16; else as float32.</param>
    /// <exception cref="ArgumentException">The table has another length or holds something else, or the block does not divide the columns; those of 32, 64 and 128 that do are named.</exception>
    public TableGrid(int rows, int columns, ReadOnlySpan<float> table, int block, bool halfScales)
        : base(rows, columns, ShapeOf(columns, table, block, halfScales))
    {
        float[] entries = table.ToArray();
        _codes = [.. Enumerable.Range(0, Shape.Levels.Count).Select(level => (byte)Array.IndexOf(entries, Shape.Levels[level]))];
        Block = block;
    }

    /// <summary>Columns of a block.</summary>
    public int Block { get; }

    /// <summary>[rows x blocks], above 0 where they were fitted.</summary>
    public float[] Scales => BlockScales;

    /// <summary>Sets the scales, which stay from then on: those that a reader finds where scales are rounded together, as in double quantization.</summary>
    /// <param name="scales">[rows x blocks].</param>
    /// <exception cref="ArgumentException">There are not as many scales as blocks.</exception>
    public void Fix(ReadOnlySpan<float> scales)
    {
        if (scales.Length != Scales.Length) throw new ArgumentException($"{scales.Length} scales were given for {Scales.Length} blocks.", nameof(scales));
        scales.CopyTo(Scales);
        GroupScales.AsSpan().Fill(1);
        IsFixed = true;
    }

    /// <summary>The place in the table of each weight.</summary>
    /// <returns>[rows x columns].</returns>
    public byte[] TableCodes() => Array.ConvertAll(Codes, code => _codes[code]);

    private static GridShape ShapeOf(int columns, ReadOnlySpan<float> table, int block, bool halfScales)
    {
        if (table.Length is < 1 or > 16)
            throw new ArgumentException($"A table has 1 to 16 numbers, not {table.Length}.", nameof(table));
        foreach (float entry in table)
            if (!float.IsFinite(entry))
                throw new ArgumentException($"The table holds {entry}; its numbers must be finite.", nameof(table));
        if (columns > 0 && (block <= 0 || columns % block != 0))
            throw NoDivisor(nameof(block), block, columns, UsualBlocks);
        float[] ascending = [.. table.ToArray().Distinct().Order()];
        return new GridShape(GridLevels.Table(ascending), block) { IsHalf = halfScales, EmptyScale = 1 };
    }
}
