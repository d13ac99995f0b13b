using System.Buffers;
using System.Buffers.Binary;
using System.Text;

namespace Nibble.Testing;

/// <summary>
/// Builds the bytes of a GGUF file field by field, well-formed or not: every count, length, type and offset can be given a value that does
/// not belong there. It shares no code with the writer, so it can tell whether the writer is right.
/// </summary>
public sealed class GgufBuilder
{
    /// <summary>The magic of a GGUF file.</summary>
    public const string GgufMagic = "GGUF";

    private readonly List<Action<GgufBuilder>> _entries = [];
    private readonly List<TensorInfo> _tensors = [];
    private readonly ArrayBufferWriter<byte> _bytes = new();

    private sealed record TensorInfo(string Name, long[] Dimensions, uint Type, ulong Offset, uint? DimensionCount, ulong? NameLength);

    /// <summary>The first four bytes.</summary>
    public string Magic { get; init; } = GgufMagic;

    /// <summary>The version field.</summary>
    public uint Version { get; init; } = 3;

    /// <summary>The alignment of the data, as the file claims it in <c>general.alignment</c> or by default.</summary>
    public uint Alignment { get; init; } = 32;

    /// <summary>Overrides the tensor count.</summary>
    public ulong? TensorCount { get; init; }

    /// <summary>Overrides the metadata count.</summary>
    public ulong? EntryCount { get; init; }

    /// <summary>The bytes after the tensor descriptions and their padding.</summary>
    public byte[] Data { get; set; } = [];

    /// <summary>Offsets of every 4- and 8-byte field that steers a reader: counts, lengths, types, offsets.</summary>
    public List<(int Offset, int Bytes)> Fields { get; } = [];

    /// <summary>Adds an entry with a value of any type; <paramref name="payload"/> stands after the type.</summary>
    public GgufBuilder Entry(string key, uint type, ReadOnlySpan<byte> payload, ulong? keyLength = null)
    {
        byte[] copy = payload.ToArray();
        _entries.Add(builder =>
        {
            builder.String(Encoding.UTF8.GetBytes(key), keyLength);
            builder.Field(type);
            builder._bytes.Write(copy);
        });
        return this;
    }

    /// <summary>Adds a uint32.</summary>
    public GgufBuilder UInt32(string key, uint value) => Entry(key, 4, BitConverter.GetBytes(value));

    /// <summary>Adds a uint16.</summary>
    public GgufBuilder UInt16(string key, ushort value) => Entry(key, 2, BitConverter.GetBytes(value));

    /// <summary>Adds a float32.</summary>
    public GgufBuilder Float32(string key, float value) => Entry(key, 6, BitConverter.GetBytes(value));

    /// <summary>Adds a string; its length can be given a value that does not belong there.</summary>
    public GgufBuilder Text(string key, ReadOnlySpan<byte> utf8, ulong? length = null)
    {
        byte[] copy = utf8.ToArray();
        _entries.Add(builder =>
        {
            builder.String(Encoding.UTF8.GetBytes(key));
            builder.Field(8u);
            builder.String(copy, length);
        });
        return this;
    }

    /// <summary>Adds an array with elements of a fixed size.</summary>
    public GgufBuilder Array(string key, uint elementType, ulong count, ReadOnlySpan<byte> elements)
    {
        byte[] copy = elements.ToArray();
        _entries.Add(builder =>
        {
            builder.String(Encoding.UTF8.GetBytes(key));
            builder.Field(9u);
            builder.Field(elementType);
            builder.Field(count);
            builder._bytes.Write(copy);
        });
        return this;
    }

    /// <summary>Adds an array of strings.</summary>
    public GgufBuilder Texts(string key, IReadOnlyList<byte[]> texts, ulong? count = null)
    {
        _entries.Add(builder =>
        {
            builder.String(Encoding.UTF8.GetBytes(key));
            builder.Field(9u);
            builder.Field(8u);
            builder.Field(count ?? (ulong)texts.Count);
            foreach (byte[] text in texts) builder.String(text);
        });
        return this;
    }

    /// <summary>Adds a tensor's description; the data is given separately in <see cref="Data"/>.</summary>
    public GgufBuilder Tensor(string name, long[] dimensions, uint type = 0, ulong offset = 0, uint? dimensionCount = null, ulong? nameLength = null)
    {
        _tensors.Add(new TensorInfo(name, dimensions, type, offset, dimensionCount, nameLength));
        return this;
    }

    /// <summary>The file's bytes.</summary>
    public byte[] Build()
    {
        _bytes.ResetWrittenCount();
        Fields.Clear();
        _bytes.Write(Encoding.Latin1.GetBytes(Magic));
        Field(Version);
        Field(TensorCount ?? (ulong)_tensors.Count);
        Field(EntryCount ?? (ulong)_entries.Count);
        foreach (Action<GgufBuilder> write in _entries) write(this);
        foreach (TensorInfo tensor in _tensors)
        {
            String(Encoding.UTF8.GetBytes(tensor.Name), tensor.NameLength);
            Field(tensor.DimensionCount ?? (uint)tensor.Dimensions.Length);
            foreach (long dimension in tensor.Dimensions) Field((ulong)dimension);
            Field(tensor.Type);
            Field(tensor.Offset);
        }

        if (_tensors.Count > 0)
            while (_bytes.WrittenCount % Alignment != 0) _bytes.Write([(byte)0]);
        _bytes.Write(Data);
        return _bytes.WrittenSpan.ToArray();
    }

    private void String(byte[] bytes, ulong? length = null)
    {
        Field(length ?? (ulong)bytes.Length);
        _bytes.Write(bytes);
    }

    private void Field(uint value)
    {
        Fields.Add((_bytes.WrittenCount, sizeof(uint)));
        Span<byte> bytes = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        _bytes.Write(bytes);
    }

    private void Field(ulong value)
    {
        Fields.Add((_bytes.WrittenCount, sizeof(ulong)));
        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        _bytes.Write(bytes);
    }
}
