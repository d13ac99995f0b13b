using Nibble.Core.Formats;

namespace Nibble.Quantize.Methods;

/// <summary>The values that blocks of one of GGUF's formats can hold: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL, Q2_K to Q6_K and IQ4_XS. Any reader of GGUF decodes what <see cref="Pack"/> makes.</summary>
public sealed class BlockGrid : RoundingGrid
{
    /// <summary>A grid for a matrix.</summary>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Columns, a multiple of the format's block.</param>
    /// <param name="format">The format.</param>
    /// <exception cref="ArgumentException">The format's codes cannot be chosen, or its blocks do not divide the columns.</exception>
    public BlockGrid(int rows, int columns, BlockFormat format)
        : base(rows, columns, ShapeOf(columns, format)) =>
        Format = format;

    /// <summary>The format.</summary>
    public BlockFormat Format { get; }

    /// <summary>Whether there is a grid for a format.</summary>
    /// <param name="format">The format.</param>
    public static bool Supports(BlockFormat format) => GridShape.Of(format) is not null;

    /// <summary>Makes the blocks of a row.</summary>
    /// <param name="row">The row.</param>
    /// <param name="blocks">[columns / values of a block] blocks, overwritten; they decode to what <see cref="RoundingGrid.Value"/> gives.</param>
    /// <exception cref="ArgumentException">The bytes are not those of a row.</exception>
    public void Pack(int row, Span<byte> blocks)
    {
        if (blocks.Length != Format.RowBytes(Columns))
            throw new ArgumentException($"{blocks.Length} bytes were given for a row of {Columns} columns; {Format} takes {Format.RowBytes(Columns)}.", nameof(blocks));
        int size = Format.BlockValues, perRow = Columns / size;
        for (int i = 0; i < perRow; i++)
        {
            int block = (row * perRow) + i, groups = Shape.Groups;
            BlockParts parts = new()
            {
                Codes = Codes.AsSpan(block * size, size),
                Scales = GroupScales.AsSpan(block * groups, groups),
                Minima = GroupMinima.AsSpan(block * groups, groups),
                D = (Half)BlockScales[block],
                Dmin = (Half)BlockMinima[block],
            };
            Format.Pack(parts, blocks.Slice(i * Format.BlockBytes, Format.BlockBytes));
        }
    }

    private static GridShape ShapeOf(int columns, BlockFormat format)
    {
        GridShape shape = GridShape.Of(format) ?? throw new ArgumentException($"Codes of {format} cannot be chosen one by one.", nameof(format));
        if (columns % format.BlockValues != 0)
            throw new ArgumentException($"Rows of {columns} are no whole blocks of {format}, which have {format.BlockValues} values.", nameof(columns));
        return shape;
    }
}
