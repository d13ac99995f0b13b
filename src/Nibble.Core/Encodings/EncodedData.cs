using System.Runtime.InteropServices;
using Nibble.Core.Gguf;

namespace Nibble.Core.Encodings;

/// <summary>The bytes of an encoded tensor's parts, in memory or in an open file. <see cref="EncodedTensor"/> checks that they have the shapes that its encoding needs.</summary>
public sealed class EncodedData
{
    private static readonly int s_partCount = Enum.GetValues<EncodedPart>().Length;

    private readonly ReadOnlyMemory<byte>?[] _memory = new ReadOnlyMemory<byte>?[s_partCount];
    private readonly GgufTensor?[] _tensors = new GgufTensor?[s_partCount];
    private readonly int[] _rowBytes = new int[s_partCount];

    /// <summary>Sets a part's bytes, which are used where they are: all rows without gaps.</summary>
    /// <returns>This data.</returns>
    public EncodedData Set(EncodedPart part, ReadOnlyMemory<byte> bytes)
    {
        _memory[(int)part] = bytes;
        return this;
    }

    /// <summary>Sets a part to a copy of values: float for F32, Half for F16, ushort for BF16, int for I32, sbyte or byte for I8.</summary>
    /// <returns>This data.</returns>
    public EncodedData Set<T>(EncodedPart part, ReadOnlySpan<T> values)
        where T : unmanaged =>
        Set(part, new ReadOnlyMemory<byte>(MemoryMarshal.AsBytes(values).ToArray()));

    /// <summary>Sets a part to a tensor of an open file.</summary>
    internal EncodedData Set(EncodedPart part, GgufTensor tensor)
    {
        _tensors[(int)part] = tensor;
        return this;
    }

    /// <summary>Checks a part's length and learns its rows.</summary>
    /// <exception cref="ArgumentException">The part is missing or has another length.</exception>
    internal void Check(string name, EncodedPartShape shape)
    {
        int i = (int)shape.Part;
        long rowBytes = shape.Format.RowBytes(shape.Width);
        if (rowBytes > GgufLimits.MaxExtent) throw new ArgumentException($"a row of {name}.{shape.Suffix} takes {rowBytes} bytes; at most {GgufLimits.MaxExtent} are possible.");
        _rowBytes[i] = (int)rowBytes;
        if (_tensors[i] is not null) return;
        if (_memory[i] is not { } bytes) throw new ArgumentException($"{name} has no {shape.Suffix}; {shape.Format} [{string.Join(" x ", shape.Dimensions)}] is needed.");
        if (bytes.Length != shape.ByteLength)
            throw new ArgumentException($"{name}.{shape.Suffix} has {bytes.Length} bytes; {shape.Format} [{string.Join(" x ", shape.Dimensions)}] takes {shape.ByteLength}.");
    }

    /// <summary>Parts that were set.</summary>
    internal IEnumerable<EncodedPart> Parts => Enum.GetValues<EncodedPart>().Where(part => _memory[(int)part] is not null || _tensors[(int)part] is not null);

    /// <summary>A row of a part.</summary>
    internal ReadOnlySpan<byte> Row(EncodedPart part, long row)
    {
        int i = (int)part;
        return _tensors[i] is { } tensor ? tensor.Row(row) : _memory[i]!.Value.Span.Slice((int)(row * _rowBytes[i]), _rowBytes[i]);
    }

    /// <summary>A row of a part that holds numbers of 32 bits.</summary>
    internal ReadOnlySpan<T> Row<T>(EncodedPart part, long row)
        where T : unmanaged =>
        MemoryMarshal.Cast<byte, T>(Row(part, row));

    /// <summary>Writes all rows of a part.</summary>
    internal void CopyTo(EncodedPart part, Stream stream)
    {
        if (_tensors[(int)part] is { } tensor) tensor.CopyTo(stream);
        else stream.Write(_memory[(int)part]!.Value.Span);
    }

    /// <summary>Where a part lies in its file; 0 where it is in memory.</summary>
    internal long FileOffset(EncodedPart part) => _tensors[(int)part]?.FileOffset ?? 0;
}
