using System.Buffers.Binary;
using System.Collections;
using System.Text;

namespace Nibble.Core.Gguf;

/// <summary>An array of strings that stays in the file: four bytes of memory per element, so that a large vocabulary costs little.</summary>
public sealed class GgufStringArray : IReadOnlyList<string>
{
    private readonly GgufValue _value;
    private readonly uint[] _starts; // offset of each string's first byte in the value; one more at the end

    internal GgufStringArray(GgufValue value)
    {
        _value = value;
        _starts = new uint[value.Count + 1];
        long offset = 0;
        for (int i = 0; i < value.Count; i++)
        {
            _starts[i] = checked((uint)(offset + sizeof(ulong)));
            offset = checked(_starts[i] + (long)BinaryPrimitives.ReadUInt64LittleEndian(value.Bytes(offset, sizeof(ulong))));
        }

        _starts[value.Count] = checked((uint)(offset + sizeof(ulong)));
    }

    /// <summary>The number of strings.</summary>
    public int Count => _starts.Length - 1;

    /// <summary>A string decoded from UTF-8; invalid bytes become U+FFFD. Each call makes a new one.</summary>
    /// <param name="index">0 to <see cref="Count"/> - 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such element.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public string this[int index] => Encoding.UTF8.GetString(Utf8(index));

    /// <summary>The bytes of a string as the file has them; they need not be valid UTF-8.</summary>
    /// <param name="index">0 to <see cref="Count"/> - 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such element.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public ReadOnlySpan<byte> Utf8(int index)
    {
        if ((uint)index >= (uint)Count) throw new ArgumentOutOfRangeException(nameof(index), $"index is {index}; the array has {Count} strings.");
        uint start = _starts[index];
        return _value.Bytes(start, (int)(_starts[index + 1] - sizeof(ulong) - start));
    }

    /// <inheritdoc/>
    public IEnumerator<string> GetEnumerator()
    {
        for (int i = 0; i < Count; i++) yield return this[i];
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
