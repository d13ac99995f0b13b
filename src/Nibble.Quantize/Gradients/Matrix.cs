namespace Nibble.Quantize.Gradients;

/// <summary>Rows of float32 in native memory, one after the other; it owns nothing.</summary>
/// <param name="values">The first value.</param>
/// <param name="rows">Rows.</param>
/// <param name="columns">Values of a row.</param>
internal readonly unsafe struct Matrix(float* values, int rows, int columns)
{
    /// <summary>The first value.</summary>
    public float* Values => values;

    /// <summary>Rows.</summary>
    public int Rows => rows;

    /// <summary>Values of a row, and from one row's start to the next one's.</summary>
    public int Columns => columns;

    /// <summary>All values.</summary>
    public Span<float> Span => new(values, checked(rows * columns));

    /// <summary>A row.</summary>
    /// <param name="row">0 to <see cref="Rows"/> - 1.</param>
    public Span<float> Row(int row) => new(values + ((long)row * columns), columns);

    /// <summary>The first rows.</summary>
    /// <param name="count">How many.</param>
    public Matrix Top(int count) => new(values, count, columns);
}
