using System.Buffers.Binary;

namespace Nibble.Quantize.Import;

/// <summary>Reads the fields of a Protocol Buffers message from front to back. Nothing is read that is not there.</summary>
/// <remarks>Encoding: protobuf.dev, "Encoding": a varint of field number and wire type, then the value.</remarks>
internal ref struct ProtobufReader
{
    private readonly string _file;
    private readonly ReadOnlySpan<byte> _message;
    private int _position;

    /// <summary>Begins with a message.</summary>
    /// <param name="file">What errors call the file.</param>
    /// <param name="message">Its bytes.</param>
    public ProtobufReader(string file, ReadOnlySpan<byte> message)
    {
        _file = file;
        _message = message;
    }

    /// <summary>Number of the field that was read.</summary>
    public int Field { get; private set; }

    /// <summary>Its value where it is a number: of a varint, or the bits of 4 or 8 bytes.</summary>
    public ulong Number { get; private set; }

    /// <summary>Its bytes where it is a text, bytes or a message.</summary>
    public ReadOnlySpan<byte> Bytes { get; private set; }

    /// <summary>The number's bits as a float32.</summary>
    public readonly float Float => BitConverter.UInt32BitsToSingle((uint)Number);

    /// <summary>Reads the next field.</summary>
    /// <returns>False at the end.</returns>
    /// <exception cref="ImportException">The message is damaged.</exception>
    public bool Read()
    {
        if (_position == _message.Length) return false;
        ulong tag = Varint();
        Bytes = default;
        Number = 0;
        if (tag >> 3 is 0 or > 0x1FFFFFFF) throw Fault($"field number {tag >> 3}; 1 to {0x1FFFFFFF} are possible");
        Field = (int)(tag >> 3);
        switch (tag & 7)
        {
            case 0:
                Number = Varint();
                break;
            case 1:
                Number = BinaryPrimitives.ReadUInt64LittleEndian(Take(8));
                break;
            case 2:
                ulong length = Varint();
                if (length > (ulong)(_message.Length - _position)) throw Fault($"a field of {length} bytes; {_message.Length - _position} are left");
                Bytes = Take((int)length);
                break;
            case 5:
                Number = BinaryPrimitives.ReadUInt32LittleEndian(Take(4));
                break;
            default:
                throw Fault($"wire type {tag & 7}; 0, 1, 2 and 5 are possible");
        }

        return true;
    }

    private ulong Varint()
    {
        ulong value = 0;
        for (int shift = 0; shift < 64; shift += 7)
        {
            byte next = Take(1)[0];
            value |= (ulong)(next & 127) << shift;
            if (next < 128) return value;
        }

        throw Fault("a number of more than 10 bytes");
    }

    private ReadOnlySpan<byte> Take(int bytes)
    {
        if (bytes > _message.Length - _position) throw Fault($"{bytes} bytes are needed; {_message.Length - _position} are left");
        _position += bytes;
        return _message.Slice(_position - bytes, bytes);
    }

    private readonly ImportException Fault(string what) => new(_file, $"it is no protobuf message that can be read: at byte {_position} of a message of {_message.Length} there is {what}.");
}
