namespace Nibble.Core.Formats;

/// <summary>A block taken apart: the whole numbers that an encoder with a search of its own hands to <see cref="BlockFormat.Pack"/>.</summary>
public readonly ref struct BlockParts
{
    /// <summary>[values] which level each value has, 0 for the lowest: Q4_0's -8, Q8_0's -127, the table's first.</summary>
    public ReadOnlySpan<byte> Codes { get; init; }

    /// <summary>[groups] what each group multiplies <see cref="D"/> by; empty in formats with one scale a block.</summary>
    public ReadOnlySpan<sbyte> Scales { get; init; }

    /// <summary>[groups] what each group multiplies <see cref="Dmin"/> by; empty in formats whose groups have no minimum.</summary>
    public ReadOnlySpan<byte> Minima { get; init; }

    /// <summary>The scale, or the scale of the scales.</summary>
    public Half D { get; init; }

    /// <summary>The scale of the minima; in Q4_1 and Q5_1 what is taken from each value, which they store with the other sign.</summary>
    public Half Dmin { get; init; }
}
