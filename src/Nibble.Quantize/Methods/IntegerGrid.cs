using System.Globalization;

namespace Nibble.Quantize.Methods;

/// <summary>Integers of 2 to 8 bits in groups along the columns, value = scale·(code − zero): a float32 scale and, where asymmetric, an integer zero for each group. Symmetric codes are centred: zero is 2^(bits−1).</summary>
public sealed class IntegerGrid : RoundingGrid
{
    private const int Steps = 20;
    private static readonly int[] UsualGroups = [32, 64, 128];

    private readonly int _rows;
    private readonly int _columns;
    private readonly int _highest;

    /// <summary>A grid for a matrix.</summary>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Columns.</param>
    /// <param name="bits">2 to 8.</param>
    /// <param name="group">Columns of a group; it divides the columns, and may be all of them.</param>
    /// <param name="symmetric">Whether the zero is in the middle.</param>
    /// <exception cref="ArgumentException">The bits are out of range, or the group does not divide the columns; those of 32, 64 and 128 that do are named.</exception>
    public IntegerGrid(int rows, int columns, int bits, int group, bool symmetric)
    {
        if (bits is < 2 or > 8)
            throw new ArgumentException($"Codes have 2 to 8 bits, not {bits}.", nameof(bits));
        if (rows <= 0 || columns <= 0)
            throw new ArgumentException($"A matrix of {rows} x {columns} holds no weights.", nameof(columns));
        if (group <= 0 || columns % group != 0)
        {
            int[] fitting = [.. UsualGroups.Where(size => columns % size == 0), columns];
            throw new ArgumentException($"A group of {group} does not divide rows of {columns}: use {string.Join(" or ", fitting.Distinct().Select(size => size.ToString(CultureInfo.InvariantCulture)))}.", nameof(group));
        }

        (_rows, _columns, Bits, Group, IsSymmetric) = (rows, columns, bits, group, symmetric);
        _highest = (1 << bits) - 1;
        Codes = new byte[(long)rows * columns];
        Scales = new float[(long)rows * (columns / group)];
        Zeros = new byte[Scales.Length];
    }

    /// <summary>Bits of a code.</summary>
    public int Bits { get; }

    /// <summary>Columns of a group.</summary>
    public int Group { get; }

    /// <summary>Whether every zero is 2^(bits−1).</summary>
    public bool IsSymmetric { get; }

    /// <summary>[rows x columns], 0 to 2^bits − 1.</summary>
    public byte[] Codes { get; }

    /// <summary>[rows x groups], above 0.</summary>
    public float[] Scales { get; }

    /// <summary>[rows x groups], the code that stands for 0.</summary>
    public byte[] Zeros { get; }

    /// <inheritdoc/>
    public override void Fit(float[] weights, float[] importance)
    {
        ArgumentNullException.ThrowIfNull(weights);
        ArgumentNullException.ThrowIfNull(importance);
        if (weights.LongLength != (long)_rows * _columns || importance.Length != _columns)
            throw new ArgumentException($"The grid is of {_rows} x {_columns}; {weights.Length} weights and {importance.Length} columns' importance were given.", nameof(weights));
        Parallel.For(0, _rows, row =>
        {
            for (int start = 0; start < _columns; start += Group)
                Fit(weights.AsSpan((row * _columns) + start, Group), importance.AsSpan(start, Group), ((row * _columns) + start) / Group);
        });
    }

    /// <inheritdoc/>
    public override float Round(int row, int column, float value)
    {
        int place = (row * _columns) + column, group = place / Group;
        float scale = Scales[group];
        int zero = Zeros[group], code = Code(value, scale, zero);
        Codes[place] = (byte)code;
        return scale * (code - zero);
    }

    private int Code(float value, float scale, int zero) => (int)Math.Clamp(MathF.Round(value / scale) + zero, 0, _highest);

    // The range is shrunk in steps of 2.5 %, down to half; the one with the lowest weighted squared error stays.
    private void Fit(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, int group)
    {
        float low = 0, high = 0;
        foreach (float value in values)
            (low, high) = (MathF.Min(low, value), MathF.Max(high, value));
        int middle = 1 << (Bits - 1);
        float range = IsSymmetric ? 2 * MathF.Max(-low, high) : high - low;
        (Scales[group], Zeros[group]) = (1, (byte)(IsSymmetric ? middle : 0));
        double best = double.PositiveInfinity;
        for (int step = 0; step <= Steps; step++)
        {
            float scale = range * (1 - (0.025f * step)) / _highest;
            if (!(scale > 0) || !float.IsFinite(scale))
                continue;
            int zero = IsSymmetric ? middle : (int)Math.Clamp(MathF.Round(-low * (1 - (0.025f * step)) / scale), 0, _highest);
            double error = 0;
            for (int i = 0; i < values.Length; i++)
            {
                float difference = values[i] - (scale * (Code(values[i], scale, zero) - zero));
                error += (double)importance[i] * difference * difference;
            }

            if (error < best)
                (best, Scales[group], Zeros[group]) = (error, scale, (byte)zero);
        }
    }
}
