using System.Runtime.InteropServices;

namespace Nibble.Core.Formats;

/// <summary>F16: one IEEE 754 binary16 value in 2 bytes (16 bits per weight).</summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct F16 : IBlock<F16>
{
    /// <summary>The value.</summary>
    public Half Value;

    /// <inheritdoc/>
    public static int Values => 1;

    /// <summary>Decodes one value: exact; a signalling NaN becomes quiet and keeps its other bits.</summary>
    /// <param name="block">The block.</param>
    /// <param name="values">[1] float32, overwritten.</param>
    public static void Decode(in F16 block, Span<float> values) => values[0] = (float)block.Value;

    /// <inheritdoc/>
    public static void DecodeRow(ReadOnlySpan<F16> blocks, Span<float> values) =>
        HalfConversion.ToSingle(MemoryMarshal.Cast<F16, Half>(blocks), values);

    /// <summary>Encodes one value: rounds to nearest, ties to even; every NaN becomes 0x7E00 with the sign kept.</summary>
    /// <param name="values">[1] float32.</param>
    /// <param name="block">The block, overwritten.</param>
    public static void Encode(ReadOnlySpan<float> values, out F16 block) => block.Value = HalfConversion.ToHalf(values[0]);

    /// <inheritdoc/>
    public static void EncodeRow(ReadOnlySpan<float> values, Span<F16> blocks) =>
        HalfConversion.ToHalf(values, MemoryMarshal.Cast<F16, Half>(blocks));
}
