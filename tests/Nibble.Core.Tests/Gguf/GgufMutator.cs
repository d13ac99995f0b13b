using System.Buffers.Binary;

namespace Nibble.Core.Tests.Gguf;

/// <summary>Damages GGUF files: half of the time in the fields that steer a reader, half of the time anywhere. One seed gives one sequence.</summary>
internal sealed class GgufMutator(int seed)
{
    private static readonly ulong[] s_awkward =
    [
        0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 31, 32, 33, 63, 64, 65, 255, 256, 65535, 65536, 65537, 1UL << 20, (1UL << 26) + 1, 1UL << 30, int.MaxValue, 1UL << 31,
        uint.MaxValue, 1UL << 32, 1UL << 40, (1UL << 61) + 1, 1UL << 62, long.MaxValue - 31, long.MaxValue, 1UL << 63, ulong.MaxValue - 31, ulong.MaxValue,
    ];

    private readonly Random _random = new(seed);

    /// <summary>A damaged copy.</summary>
    /// <param name="bytes">A well-formed file.</param>
    /// <param name="fields">Its counts, lengths, types and offsets.</param>
    public byte[] Mutate(byte[] bytes, IReadOnlyList<(int Offset, int Bytes)> fields)
    {
        byte[] mutated = (byte[])bytes.Clone();
        for (int changes = 1 + _random.Next(1 + _random.Next(3)); changes > 0; changes--)
            mutated = _random.Next(2) == 0 ? ChangeField(mutated, fields) : ChangeAnything(mutated);
        return mutated;
    }

    private byte[] ChangeField(byte[] bytes, IReadOnlyList<(int Offset, int Bytes)> fields)
    {
        (int offset, int size) = fields[_random.Next(fields.Count)];
        if (offset + size > bytes.Length) return bytes;
        Span<byte> field = bytes.AsSpan(offset, size);
        ulong old = size == 4 ? BinaryPrimitives.ReadUInt32LittleEndian(field) : BinaryPrimitives.ReadUInt64LittleEndian(field);
        ulong changed = _random.Next(4) switch
        {
            0 => old + (ulong)_random.Next(-33, 34),
            1 => old << _random.Next(1, 33),
            2 => (ulong)_random.NextInt64(),
            _ => s_awkward[_random.Next(s_awkward.Length)],
        };
        if (size == 4) BinaryPrimitives.WriteUInt32LittleEndian(field, (uint)changed);
        else BinaryPrimitives.WriteUInt64LittleEndian(field, changed);
        return bytes;
    }

    private byte[] ChangeAnything(byte[] bytes)
    {
        if (bytes.Length == 0) return bytes;
        int at = _random.Next(bytes.Length), length = _random.Next(Math.Min(40, bytes.Length - at) + 1);
        switch (_random.Next(6))
        {
            case 0:
                bytes[at] ^= (byte)(1 << _random.Next(8));
                return bytes;
            case 1:
                _random.NextBytes(bytes.AsSpan(at, length));
                return bytes;
            case 2:
                return bytes[..at]; // cut
            case 3:
                return [.. bytes[..at], .. bytes[(at + length)..]]; // removed
            case 4:
                return [.. bytes[..(at + length)], .. bytes[at..]]; // doubled
            default:
                bytes.AsSpan(at, length).Fill((byte)(_random.Next(2) * 255));
                return bytes;
        }
    }
}
