using System.Collections.Immutable;
using Nibble.Core.Memory;

namespace Nibble.Core.Safetensors;

/// <summary>A tensor of an open file. Its bytes stay in the mapped file, which must stay open while they are used.</summary>
public sealed class SafetensorsTensor
{
    private readonly MappedFile _file;

    internal SafetensorsTensor(MappedFile file, string name, SafetensorsType type, ImmutableArray<long> shape, long fileOffset, long byteLength)
    {
        _file = file;
        Name = name;
        Type = type;
        Shape = shape;
        FileOffset = fileOffset;
        ByteLength = byteLength;
    }

    /// <summary>Its name.</summary>
    public string Name { get; }

    /// <summary>The file's name without its folder.</summary>
    public string FileName => _file.Name;

    /// <summary>The type of its values.</summary>
    public SafetensorsType Type { get; }

    /// <summary>Its dimensions; the last is the contiguous one. Empty for a single value.</summary>
    public ImmutableArray<long> Shape { get; }

    /// <summary>Its dimensions as files show them: <c>[128, 256]</c>.</summary>
    public string ShapeText => Text(Shape.AsSpan());

    /// <summary>Values.</summary>
    public long Count => ByteLength / Type.Bytes();

    /// <summary>Bytes.</summary>
    public long ByteLength { get; }

    /// <summary>Bytes from the file's start.</summary>
    public long FileOffset { get; }

    /// <summary>A part of its bytes, little-endian.</summary>
    /// <param name="offset">Bytes from the tensor's start.</param>
    /// <param name="length">Bytes.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part does not lie inside the tensor.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public ReadOnlySpan<byte> Bytes(long offset, int length)
    {
        if (offset < 0 || length < 0 || offset > ByteLength - length)
            throw new ArgumentOutOfRangeException(nameof(offset), $"{length} bytes at offset {offset} do not lie inside tensor '{Name}', which has {ByteLength} bytes.");
        return _file.Span(FileOffset + offset, length);
    }

    /// <summary>All of its bytes, where they are few.</summary>
    /// <exception cref="SafetensorsException">There are more than fit one span.</exception>
    public ReadOnlySpan<byte> Bytes() =>
        ByteLength <= int.MaxValue ? Bytes(0, (int)ByteLength) : throw new SafetensorsException(FileName, $"tensor '{Name}' has {ByteLength} bytes; at most {int.MaxValue} are possible here.");

    /// <summary>Name, type and dimensions, for example <c>lm_head.weight BF16 [512, 256]</c>.</summary>
    public override string ToString() => $"{Name} {Type.Name()} {ShapeText}";

    /// <summary>Dimensions as files show them.</summary>
    public static string Text(ReadOnlySpan<long> shape) => $"[{string.Join(", ", shape.ToArray())}]";
}
