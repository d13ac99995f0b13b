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
