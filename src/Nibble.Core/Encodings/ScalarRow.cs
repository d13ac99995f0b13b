using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Nibble.Core.Formats;

namespace Nibble.Core.Encodings;

/// <summary>A row of scales or zeros of any of their formats, read one by one and widened to float32; bytes (I8) count as 0 to 255.</summary>
internal readonly ref struct ScalarRow(BlockFormat format, ReadOnlySpan<byte> bytes)
{
    private readonly uint _id = format.Id;
    private readonly ReadOnlySpan<byte> _bytes = bytes;

    public float this[long index]
    {
        get
        {
            int i = (int)index;
            if (_id == 0) return MemoryMarshal.Cast<byte, float>(_bytes)[i];
            if (_id == 1) return (float)MemoryMarshal.Cast<byte, Half>(_bytes)[i];
            if (_id == 24) return _bytes[i];
            return Unsafe.BitCast<uint, float>((uint)MemoryMarshal.Cast<byte, ushort>(_bytes)[i] << 16);
        }
    }
}
