using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Nibble.Core.Formats;

/// <summary>BF16: the upper half of one float32 in 2 bytes (16 bits per weight).</summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct BF16 : IBlock<BF16>
{
    /// <summary>Bits 16 to 31 of the float32.</summary>
    public ushort Bits;

    /// <inheritdoc/>
    public static int Values => 1;

    /// <inheritdoc/>
    public static void Decode(in BF16 block, Span<float> values) => values[0] = BitConverter.UInt32BitsToSingle((uint)block.Bits << 16);

    /// <inheritdoc/>
    public static void DecodeRow(ReadOnlySpan<BF16> blocks, Span<float> values)
    {
        int i = 0;
        ReadOnlySpan<ushort> bits = MemoryMarshal.Cast<BF16, ushort>(blocks);
        for (; i <= bits.Length - 16; i += 16)
        {
            (Vector256<uint> low, Vector256<uint> high) = Vector256.Widen(Vector256.Create(bits[i..]));
            (low << 16).AsSingle().CopyTo(values[i..]);
            (high << 16).AsSingle().CopyTo(values[(i + 8)..]);
        }

        for (; i < blocks.Length; i++)
            Decode(in blocks[i], values[i..]);
    }

    /// <summary>Encodes one value: rounds to nearest, ties to even; a NaN keeps its upper bits and becomes quiet.</summary>
    /// <param name="values">[1] float32.</param>
    /// <param name="block">The block, overwritten.</param>
    public static void Encode(ReadOnlySpan<float> values, out BF16 block)
    {
        uint bits = BitConverter.SingleToUInt32Bits(values[0]);
        block.Bits = float.IsNaN(values[0])
            ? (ushort)(bits >> 16 | 0x40)
            : (ushort)(bits + 0x7FFF + (bits >> 16 & 1) >> 16);
    }
}
