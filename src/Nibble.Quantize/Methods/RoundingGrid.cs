using System.Globalization;
using System.Runtime.CompilerServices;

namespace Nibble.Quantize.Methods;

/// <summary>The values a format can hold for a matrix, group by group: its parameters are fitted first and stay while weights are rounded to it, in any order of columns.</summary>
public abstract class RoundingGrid
{
    private protected RoundingGrid(int rows, int columns, GridShape shape)
    {
        if (rows <= 0 || columns <= 0)
            throw new ArgumentException($"A matrix of {rows} x {columns} holds no weights.", nameof(columns));
        if ((long)rows * columns > Array.MaxLength)
            throw new ArgumentException($"A matrix of {rows} x {columns} holds more than {Array.MaxLength} weights: take fewer rows at a time.", nameof(rows));
        (Rows, Columns, Shape) = (rows, columns, shape);
        Codes = new byte[rows * columns];
        int groups = rows * (columns / shape.Group), blocks = rows * (columns / shape.Block);
        (GroupScales, GroupMinima, GroupZeros) = (new sbyte[groups], new byte[groups], new byte[groups]);
        (BlockScales, BlockMinima) = (new float[blocks], new float[blocks]);
    }

    /// <summary>Rows.</summary>
    public int Rows { get; }

    /// <summary>Columns.</summary>
    public int Columns { get; }

    /// <summary>[rows x columns] codes of the weights, 0 for the lowest level.</summary>
    public byte[] Codes { get; }

    internal GridShape Shape { get; }

    /// <summary>Whether scales were given and stay; only codes are chosen.</summary>
    internal bool IsFixed { get; private protected set; }

    /// <summary>[rows x blocks] d.</summary>
    internal float[] BlockScales { get; }

    /// <summary>[rows x blocks] dmin.</summary>
    internal float[] BlockMinima { get; }

    /// <summary>[rows x groups] s.</summary>
    internal sbyte[] GroupScales { get; }

    /// <summary>[rows x groups] m.</summary>
    internal byte[] GroupMinima { get; }

    /// <summary>[rows x groups] zeros among the levels.</summary>
    internal byte[] GroupZeros { get; }

    /// <summary>Fits every group's parameters to a matrix: what they leave of S(importance · error²) when every weight is rounded to its nearest is made small.</summary>
    /// <param name="weights">[rows x columns].</param>
    /// <param name="importance">[columns], what an error in a column weighs, from 0 up.</param>
    /// <param name="options">How many threads, and what stops it; null for those of <see cref="Work.Threads"/>.</param>
    /// <exception cref="ArgumentException">The lengths are not the grid's.</exception>
    public void Fit(float[] weights, float[] importance, ParallelOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(weights);
        ArgumentNullException.ThrowIfNull(importance);
        CheckLength(weights);
        if (importance.Length != Columns)
            throw new ArgumentException($"The grid is of {Rows} x {Columns}; {importance.Length} columns' importance were given.", nameof(importance));
        Work.For(Rows, options, row => FitRow(row, weights.AsSpan(row * Columns, Columns), importance));
    }

    /// <summary>Rounds a weight, keeps its code and returns the value that the code stands for. Rows may be rounded on several threads at a time.</summary>
    /// <param name="row">The weight's row.</param>
    /// <param name="column">The weight's column in the matrix.</param>
    /// <param name="value">What to round.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public float Round(int row, int column, float value)
    {
        int place = (row * Columns) + column;
        AffineGroup group = GroupOf(place / Shape.Group);
        int code = Shape.Levels.Code(group.Place(value, group.Inverse));
        Codes[place] = (byte)code;
        return group.Value(Shape.Levels[code]);
    }

    /// <summary>The value that a weight's code stands for.</summary>
    /// <param name="row">Its row.</param>
    /// <param name="column">Its column.</param>
    public float Value(int row, int column)
    {
        int place = (row * Columns) + column;
        return GroupOf(place / Shape.Group).Value(Shape.Levels[Codes[place]]);
    }

    internal void FitRow(int row, ReadOnlySpan<float> weights, ReadOnlySpan<float> importance)
    {
        if (IsFixed) return;
        int size = Shape.Block;
        for (int start = 0, block = row * (Columns / size); start < Columns; start += size, block++)
            GroupFit.Fit(this, block, weights.Slice(start, size), importance.Slice(start, size));
    }

    /// <summary>Scale, zero and minimum of a group.</summary>
    /// <param name="group">Counted through the matrix.</param>
    internal AffineGroup GroupOf(int group)
    {
        int block = group / Shape.Groups;
        return new AffineGroup(BlockScales[block] * GroupScales[group], GroupZeros[group], BlockMinima[block] * GroupMinima[group]);
    }

    private protected static ArgumentException NoDivisor(string what, int size, int columns, IEnumerable<int> usual)
    {
        IEnumerable<string> fitting = usual.Where(one => columns % one == 0).Append(columns).Distinct().Select(one => one.ToString(CultureInfo.InvariantCulture));
        return new ArgumentException($"A {what} of {size} does not divide rows of {columns}: use {string.Join(" or ", fitting)}.", what);
    }

    internal void CheckLength(float[] weights)
    {
        if (weights.Length != Codes.Length)
            throw new ArgumentException($"The grid is of {Rows} x {Columns}; {weights.Length} weights were given.", nameof(weights));
    }
}
