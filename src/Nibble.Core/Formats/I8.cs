using System.Runtime.InteropServices;

namespace Nibble.Core.Formats;

/// <summary>I8: one signed byte. No weight by itself: files keep codes and other parts of <see cref="Nibble.Core.Encodings"/> so.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct I8 : IBlock<I8>
{
    /// <summary>The value.</summary>
    public sbyte Value;

    /// <inheritdoc/>
    public static int Values => 1;

    /// <summary>Decodes one value: exact.</summary>
    /// <param name="block">The block.</param>
    /// <param name="values">[1] float32, overwritten.</param>
    public static void Decode(in I8 block, Span<float> values) => values[0] = block.Value;

    /// <summary>Encodes one value: rounds to the nearest integer, halves to even, within the range of the type; NaN becomes 0.</summary>
    /// <param name="values">[1] float32.</param>
    /// <param name="block">The block, overwritten.</param>
    public static void Encode(ReadOnlySpan<float> values, out I8 block) => block.Value = (sbyte)Math.Clamp(MathF.Round(float.IsNaN(values[0]) ? 0 : values[0]), sbyte.MinValue, sbyte.MaxValue);
}
