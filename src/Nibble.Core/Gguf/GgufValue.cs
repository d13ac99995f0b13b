using System.Buffers.Binary;
using System.Globalization;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using Nibble.Core.Memory;

namespace Nibble.Core.Gguf;

/// <summary>
/// A metadata value: a typed scalar, a string, or an array. Values of an open file point into the file; values made by the conversions and
/// by <see cref="Array(ReadOnlySpan{uint})"/> and its siblings own their bytes. Two values are equal when type and bytes are.
/// </summary>
public readonly struct GgufValue : IEquatable<GgufValue>
{
    private const int CopyBytes = 1 << 20;

    private readonly object? _owner; // MappedFile or byte[]
    private readonly long _offset;
    private readonly byte _type;
    private readonly byte _elementType;

    private GgufValue(object owner, long offset, long byteLength, GgufValueType type, GgufValueType elementType, int count)
    {
        _owner = owner;
        _offset = offset;
        ByteLength = byteLength;
        _type = (byte)type;
        _elementType = (byte)elementType;
        Count = count;
    }

    internal GgufValue(MappedFile file, long offset, long byteLength, GgufValueType type, GgufValueType elementType, int count)
        : this((object)file, offset, byteLength, type, elementType, count)
    {
    }

    /// <summary>The value's type.</summary>
    public GgufValueType Type => (GgufValueType)_type;

    /// <summary>The type of an array's elements; of any other value its own type.</summary>
    public GgufValueType ElementType => (GgufValueType)_elementType;

    /// <summary>An array's elements; 1 for any other value.</summary>
    public int Count { get; }

    /// <summary>Bytes of the value in a file, without type and count.</summary>
    internal long ByteLength { get; }

    /// <summary>Where the value stands in its file; 0 where it is in no file.</summary>
    internal long FileOffset => _owner is MappedFile ? _offset : 0;

    /// <summary>Whether this is <c>default</c>, which is no value.</summary>
    internal bool IsDefault => _owner is null;

    /// <summary>A uint8.</summary>
    public static implicit operator GgufValue(byte value) => Scalar(value, GgufValueType.UInt8);

    /// <summary>An int8.</summary>
    public static implicit operator GgufValue(sbyte value) => Scalar(value, GgufValueType.Int8);

    /// <summary>A uint16.</summary>
    public static implicit operator GgufValue(ushort value) => Scalar(value, GgufValueType.UInt16);

    /// <summary>An int16.</summary>
    public static implicit operator GgufValue(short value) => Scalar(value, GgufValueType.Int16);

    /// <summary>A uint32.</summary>
    public static implicit operator GgufValue(uint value) => Scalar(value, GgufValueType.UInt32);

    /// <summary>An int32.</summary>
    public static implicit operator GgufValue(int value) => Scalar(value, GgufValueType.Int32);

    /// <summary>A uint64.</summary>
    public static implicit operator GgufValue(ulong value) => Scalar(value, GgufValueType.UInt64);

    /// <summary>An int64.</summary>
    public static implicit operator GgufValue(long value) => Scalar(value, GgufValueType.Int64);

    /// <summary>A float32.</summary>
    public static implicit operator GgufValue(float value) => Scalar(value, GgufValueType.Float32);

    /// <summary>A float64.</summary>
    public static implicit operator GgufValue(double value) => Scalar(value, GgufValueType.Float64);

    /// <summary>A boolean.</summary>
    public static implicit operator GgufValue(bool value) => Scalar(value ? (byte)1 : (byte)0, GgufValueType.Boolean);

    /// <summary>A string.</summary>
    /// <exception cref="ArgumentException">It holds half a surrogate pair, or is longer than <see cref="GgufLimits.MaxStringBytes"/>.</exception>
    public static implicit operator GgufValue(string value)
    {
        ArgumentNullException.ThrowIfNull(value);
        return Utf8(GgufOutput.StrictUtf8.GetBytes(value));
    }

    /// <summary>A string from its bytes, which are kept as they are.</summary>
    /// <exception cref="ArgumentException">The string is longer than <see cref="GgufLimits.MaxStringBytes"/>.</exception>
    public static GgufValue Utf8(ReadOnlySpan<byte> utf8)
    {
        byte[] bytes = new byte[sizeof(ulong) + CheckedStringBytes(utf8.Length)];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, (ulong)utf8.Length);
        utf8.CopyTo(bytes.AsSpan(sizeof(ulong)));
        return new GgufValue(bytes, 0, bytes.Length, GgufValueType.String, GgufValueType.String, 1);
    }

    /// <summary>An array of uint8.</summary>
    public static GgufValue Array(ReadOnlySpan<byte> values) => Elements(values, GgufValueType.UInt8);

    /// <summary>An array of int8.</summary>
    public static GgufValue Array(ReadOnlySpan<sbyte> values) => Elements(values, GgufValueType.Int8);

    /// <summary>An array of uint16.</summary>
    public static GgufValue Array(ReadOnlySpan<ushort> values) => Elements(values, GgufValueType.UInt16);

    /// <summary>An array of int16.</summary>
    public static GgufValue Array(ReadOnlySpan<short> values) => Elements(values, GgufValueType.Int16);

    /// <summary>An array of uint32.</summary>
    public static GgufValue Array(ReadOnlySpan<uint> values) => Elements(values, GgufValueType.UInt32);

    /// <summary>An array of int32.</summary>
    public static GgufValue Array(ReadOnlySpan<int> values) => Elements(values, GgufValueType.Int32);

    /// <summary>An array of uint64.</summary>
    public static GgufValue Array(ReadOnlySpan<ulong> values) => Elements(values, GgufValueType.UInt64);

    /// <summary>An array of int64.</summary>
    public static GgufValue Array(ReadOnlySpan<long> values) => Elements(values, GgufValueType.Int64);

    /// <summary>An array of float32.</summary>
    public static GgufValue Array(ReadOnlySpan<float> values) => Elements(values, GgufValueType.Float32);

    /// <summary>An array of float64.</summary>
    public static GgufValue Array(ReadOnlySpan<double> values) => Elements(values, GgufValueType.Float64);

    /// <summary>An array of booleans.</summary>
    public static GgufValue Array(ReadOnlySpan<bool> values) => Elements(values, GgufValueType.Boolean);

    /// <summary>An array of strings.</summary>
    /// <exception cref="ArgumentException">A string holds half a surrogate pair, or a length or count is above <see cref="GgufLimits"/>.</exception>
    public static GgufValue Array(IReadOnlyCollection<string> values)
    {
        ArgumentNullException.ThrowIfNull(values);
        CheckElements(values.Count);
        using MemoryStream bytes = new();
        Span<byte> prefix = stackalloc byte[sizeof(ulong)];
        foreach (string value in values)
        {
            byte[] utf8 = GgufOutput.StrictUtf8.GetBytes(value);
            BinaryPrimitives.WriteUInt64LittleEndian(prefix, (ulong)CheckedStringBytes(utf8.Length));
            bytes.Write(prefix);
            bytes.Write(utf8);
        }

        return new GgufValue(bytes.ToArray(), 0, bytes.Length, GgufValueType.Array, GgufValueType.String, values.Count);
    }

    /// <summary>Whether two values have the same type and bytes.</summary>
    public static bool operator ==(GgufValue left, GgufValue right) => left.Equals(right);

    /// <summary>Whether two values differ in type or bytes.</summary>
    public static bool operator !=(GgufValue left, GgufValue right) => !left.Equals(right);

    /// <inheritdoc/>
    public bool Equals(GgufValue other)
    {
        if (Type != other.Type || ElementType != other.ElementType || Count != other.Count || ByteLength != other.ByteLength || IsDefault != other.IsDefault)
            return false;
        for (long offset = 0; offset < ByteLength; offset += CopyBytes)
        {
            int length = (int)Math.Min(CopyBytes, ByteLength - offset);
            if (!Bytes(offset, length).SequenceEqual(other.Bytes(offset, length))) return false;
        }

        return true;
    }

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is GgufValue other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode()
    {
        HashCode hash = default;
        hash.Add(Type);
        hash.Add(ElementType);
        hash.Add(Count);
        hash.Add(ByteLength);
        if (!IsDefault) hash.AddBytes(Bytes(0, (int)Math.Min(ByteLength, 256)));
        return hash.ToHashCode();
    }

    /// <summary>The value for a person: arrays show their first elements and their length.</summary>
    public override string ToString()
    {
        const int Shown = 8;
        if (IsDefault) return "";
        if (Type == GgufValueType.String) return StringValue();
        if (Type != GgufValueType.Array) return ElementText(0);
        IEnumerable<string> first = ElementType == GgufValueType.String ? FirstStrings(Shown) : Enumerable.Range(0, Math.Min(Count, Shown)).Select(ElementText);
        return Count <= Shown ? $"[{string.Join(", ", first)}]" : $"[{string.Join(", ", first)}, ... {Count} in all]";
    }

    /// <summary>A part of the value's bytes as a file has them: strings with their lengths, arrays without type and count.</summary>
    internal ReadOnlySpan<byte> Bytes(long offset, int length) =>
        _owner is MappedFile file ? file.Span(_offset + offset, length) : ((byte[])_owner!).AsSpan((int)(_offset + offset), length);

    internal void CopyTo(Stream stream)
    {
        for (long offset = 0; offset < ByteLength; offset += CopyBytes)
            stream.Write(Bytes(offset, (int)Math.Min(CopyBytes, ByteLength - offset)));
    }

    internal string StringValue() => Encoding.UTF8.GetString(Bytes(sizeof(ulong), (int)(ByteLength - sizeof(ulong))));

    /// <summary>Converts integer elements to another integer type.</summary>
    /// <returns>-1; or the index of the first element that does not fit.</returns>
    /// <exception cref="InvalidOperationException">The elements are no integers.</exception>
    internal int CopyIntegers<T>(Span<T> values)
        where T : unmanaged, IBinaryInteger<T> => ElementType switch
        {
            GgufValueType.UInt8 => Convert<byte, T>(values),
            GgufValueType.Int8 => Convert<sbyte, T>(values),
            GgufValueType.UInt16 => Convert<ushort, T>(values),
            GgufValueType.Int16 => Convert<short, T>(values),
            GgufValueType.UInt32 => Convert<uint, T>(values),
            GgufValueType.Int32 => Convert<int, T>(values),
            GgufValueType.UInt64 => Convert<ulong, T>(values),
            GgufValueType.Int64 => Convert<long, T>(values),
            _ => throw new InvalidOperationException($"{ElementType} is no integer type."),
        };

    /// <summary>Converts float elements; float64 is rounded to the nearest float32.</summary>
    /// <exception cref="InvalidOperationException">The elements are no floats.</exception>
    internal void CopyFloats(Span<float> values)
    {
        ReadOnlySpan<byte> bytes = Bytes(0, (int)ByteLength);
        if (ElementType == GgufValueType.Float32)
            bytes.CopyTo(MemoryMarshal.AsBytes(values));
        else if (ElementType == GgufValueType.Float64)
            for (int i = 0; i < values.Length; i++) values[i] = (float)BinaryPrimitives.ReadDoubleLittleEndian(bytes[(i * sizeof(double))..]);
        else
            throw new InvalidOperationException($"{ElementType} is no float type.");
    }

    /// <summary>Copies boolean elements.</summary>
    internal void CopyBooleans(Span<bool> values)
    {
        ReadOnlySpan<byte> bytes = Bytes(0, (int)ByteLength);
        for (int i = 0; i < values.Length; i++) values[i] = bytes[i] != 0;
    }

    /// <summary>One element of a fixed size as text.</summary>
    internal string ElementText(int index)
    {
        int size = GgufValueTypes.FixedBytes(ElementType);
        ReadOnlySpan<byte> bytes = Bytes((long)index * size, size);
        CultureInfo culture = CultureInfo.InvariantCulture;
        return ElementType switch
        {
            GgufValueType.UInt8 => bytes[0].ToString(culture),
            GgufValueType.Int8 => ((sbyte)bytes[0]).ToString(culture),
            GgufValueType.UInt16 => BinaryPrimitives.ReadUInt16LittleEndian(bytes).ToString(culture),
            GgufValueType.Int16 => BinaryPrimitives.ReadInt16LittleEndian(bytes).ToString(culture),
            GgufValueType.UInt32 => BinaryPrimitives.ReadUInt32LittleEndian(bytes).ToString(culture),
            GgufValueType.Int32 => BinaryPrimitives.ReadInt32LittleEndian(bytes).ToString(culture),
            GgufValueType.UInt64 => BinaryPrimitives.ReadUInt64LittleEndian(bytes).ToString(culture),
            GgufValueType.Int64 => BinaryPrimitives.ReadInt64LittleEndian(bytes).ToString(culture),
            GgufValueType.Float32 => BinaryPrimitives.ReadSingleLittleEndian(bytes).ToString(culture),
            GgufValueType.Float64 => BinaryPrimitives.ReadDoubleLittleEndian(bytes).ToString(culture),
            GgufValueType.Boolean => bytes[0] != 0 ? "true" : "false",
            _ => throw new InvalidOperationException($"{ElementType} has no fixed size."),
        };
    }

    private static GgufValue Scalar<T>(T value, GgufValueType type)
        where T : unmanaged
    {
        byte[] bytes = new byte[Unsafe.SizeOf<T>()];
        MemoryMarshal.Write(bytes, in value);
        return new GgufValue(bytes, 0, bytes.Length, type, type, 1);
    }

    private static GgufValue Elements<T>(ReadOnlySpan<T> values, GgufValueType type)
        where T : unmanaged
    {
        CheckElements(values.Length);
        byte[] bytes = MemoryMarshal.AsBytes(values).ToArray();
        return new GgufValue(bytes, 0, bytes.Length, GgufValueType.Array, type, values.Length);
    }

    private static void CheckElements(int count)
    {
        if (count > GgufLimits.MaxArrayElements) throw new ArgumentException($"The array has {count} elements; at most {GgufLimits.MaxArrayElements} are allowed.");
    }

    private static int CheckedStringBytes(int bytes) =>
        bytes <= GgufLimits.MaxStringBytes ? bytes : throw new ArgumentException($"The string has {bytes} bytes; at most {GgufLimits.MaxStringBytes} are allowed.");

    private int Convert<TFrom, TTo>(Span<TTo> values)
        where TFrom : unmanaged, IBinaryInteger<TFrom>
        where TTo : unmanaged, IBinaryInteger<TTo>
    {
        ReadOnlySpan<byte> bytes = Bytes(0, (int)ByteLength);
        if (typeof(TFrom) == typeof(TTo))
        {
            bytes.CopyTo(MemoryMarshal.AsBytes(values));
            return -1;
        }

        for (int i = 0; i < values.Length; i++)
        {
            TFrom from = MemoryMarshal.Read<TFrom>(bytes[(i * Unsafe.SizeOf<TFrom>())..]);
            TTo to = TTo.CreateTruncating(from);
            // It fits when it comes back the same with the same sign.
            if (TFrom.CreateTruncating(to) != from || TFrom.IsNegative(from) != TTo.IsNegative(to)) return i;
            values[i] = to;
        }

        return -1;
    }

    private List<string> FirstStrings(int most)
    {
        List<string> texts = [];
        long offset = 0;
        for (int i = 0; i < Math.Min(Count, most); i++)
        {
            int length = checked((int)BinaryPrimitives.ReadUInt64LittleEndian(Bytes(offset, sizeof(ulong))));
            texts.Add($"\"{Encoding.UTF8.GetString(Bytes(offset + sizeof(ulong), length))}\"");
            offset += sizeof(ulong) + length;
        }

        return texts;
    }
}
