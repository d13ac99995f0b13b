using System.Runtime.InteropServices;

namespace Nibble.Core.Formats;

/// <summary>I32: one integer of 32 bits. No weight by itself: files keep permutations of <see cref="Nibble.Core.Encodings"/> so.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct I32 : IBlock<I32>
{
    /// <summary>The value.</summary>
    public int Value;

    /// <inheritdoc/>
    public static int Values => 1;

    /// <summary>Decodes one value: exact up to 2^24, else to the nearest float32.</summary>
    /// <param name="block">The block.</param>
    /// <param name="values">[1] float32, overwritten.</param>
    public static void Decode(in I32 block, Span<float> values) => values[0] = block.Value;

    /// <summary>Encodes one value: rounds to the nearest integer, halves to even, within the range of the type; NaN becomes 0.</summary>
    /// <param name="values">[1] float32.</param>
    /// <param name="block">The block, overwritten.</param>
    public static void Encode(ReadOnlySpan<float> values, out I32 block) => block.Value = (int)MathF.Round(values[0]);
}
