using System.Runtime.InteropServices;

namespace Nibble.Core.Formats;

/// <summary>F32: one float32 in 4 bytes, stored as it is.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct F32 : IBlock<F32>
{
    /// <summary>The value.</summary>
    public float Value;

    /// <inheritdoc/>
    public static int Values => 1;

    /// <inheritdoc/>
    public static void Decode(in F32 block, Span<float> values) => values[0] = block.Value;

    /// <inheritdoc/>
    public static void Encode(ReadOnlySpan<float> values, out F32 block) => block.Value = values[0];

    /// <inheritdoc/>
    public static void DecodeRow(ReadOnlySpan<F32> blocks, Span<float> values) =>
        MemoryMarshal.AsBytes(blocks).CopyTo(MemoryMarshal.AsBytes(values));

    /// <inheritdoc/>
    public static void EncodeRow(ReadOnlySpan<float> values, Span<F32> blocks) =>
        MemoryMarshal.AsBytes(values).CopyTo(MemoryMarshal.AsBytes(blocks));
}
