using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Quantize.Methods;

/// <summary>Weights in memory, in float32.</summary>
/// <param name="name">The tensor's name.</param>
/// <param name="values">[matrices x rows x columns]; used where they are.</param>
/// <param name="rows">Rows of a matrix.</param>
/// <param name="columns">Columns.</param>
public sealed class FloatMatrix(string name, float[] values, int rows, int columns) : IWeightSource
{
    /// <inheritdoc/>
    public string Name => name;

    /// <summary>[matrices x rows x columns].</summary>
    public float[] Values => values;

    /// <inheritdoc/>
    public BlockFormat Format => BlockFormats.F32;

    /// <inheritdoc/>
    public int Columns => columns;

    /// <inheritdoc/>
    public int Rows => rows;

    /// <inheritdoc/>
    public int Matrices => (int)(values.Length / ((long)rows * columns));

    /// <inheritdoc/>
    public ReadOnlySpan<byte> Row(long row) => System.Runtime.InteropServices.MemoryMarshal.AsBytes(values.AsSpan(checked((int)(row * columns)), columns));

    /// <summary>Reads rows.</summary>
    /// <param name="source">The tensor.</param>
    /// <param name="first">The first row, counted through all matrices.</param>
    /// <param name="count">How many.</param>
    /// <returns>[count x columns].</returns>
    /// <exception cref="InsufficientMemoryException">They have more values than an array can hold.</exception>
    public static float[] Read(IWeightSource source, long first, long count)
    {
        ArgumentNullException.ThrowIfNull(source);
        int columns = source.Columns;
        if (count * columns > Array.MaxLength) throw new InsufficientMemoryException($"{count:N0} rows of '{source.Name}' have {count * columns:N0} values; {Array.MaxLength:N0} can be held together.");
        float[] values = new float[count * columns];
        Work.For((int)count, row => source.CopyRow(first + row, values.AsSpan(row * columns, columns)));
        return values;
    }

    /// <summary>A copy of some of a matrix's rows, at equal distances.</summary>
    /// <param name="most">How many at most.</param>
    public FloatMatrix Sample(int most)
    {
        if (rows <= most) return new FloatMatrix(name, [.. values], rows, columns);
        float[] some = new float[most * columns];
        for (int i = 0; i < most; i++) Row((long)i * rows / most, some.AsSpan(i * columns, columns));
        return new FloatMatrix(name, some, most, columns);

        void Row(long row, Span<float> to) => values.AsSpan((int)(row * columns), columns).CopyTo(to);
    }
}
