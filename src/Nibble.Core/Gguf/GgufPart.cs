using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Text;
using System.Text.Unicode;
using Nibble.Core.Formats;
using Nibble.Core.Memory;

namespace Nibble.Core.Gguf;

/// <summary>
/// One file, read in two passes: the first checks every count, length and offset against the bytes that are there and allocates nothing;
/// the second makes the objects, whose number is then known. The layout is that of ggml's docs/gguf.md, versions 2 and 3.
/// </summary>
internal sealed class GgufPart
{
    private static readonly (byte[] Start, string Hint)[] s_otherFiles =
    [
        ("FUGG"u8.ToArray(), "it is a byte-swapped GGUF file; convert it for a little-endian machine"),
        ("tjgg"u8.ToArray(), "it is an old ggjt file; convert the model to GGUF"),
        ("lmgg"u8.ToArray(), "it is an old ggml file; convert the model to GGUF"),
        ("vers"u8.ToArray(), "it looks like a Git LFS pointer; fetch the file itself with 'git lfs pull'"),
        ("PK\x03\x04"u8.ToArray(), "it looks like a zip archive or a PyTorch checkpoint; convert the model to GGUF"),
    ];

    private readonly MappedFile _file;
    private readonly GgufCursor _cursor;
    private readonly int _tensorCount;
    private readonly int _entryCount;

    private struct RawEntry
    {
        public long KeyOffset;
        public int KeyBytes;
        public GgufValueType Type;
        public GgufValueType ElementType;
        public int Count;
        public long ValueOffset;
        public long ValueBytes;
    }

    private struct RawTensor
    {
        public long NameOffset;
        public int NameBytes;
        public int DimensionCount;
        public long Dimension0;
        public long Dimension1;
        public long Dimension2;
        public long Dimension3;
        public BlockFormat Format;
        public long Bytes;
        public long Offset; // from the start of the data
    }

    /// <summary>Reads and checks a mapped file. The caller keeps the ownership of the map.</summary>
    /// <exception cref="GgufException">The file is no GGUF file that can be used.</exception>
    public GgufPart(MappedFile file)
    {
        _file = file;
        _cursor = new GgufCursor(file);
        (Version, _tensorCount, _entryCount) = ReadHeader();

        long alignmentOffset = -1;
        for (int i = 0; i < _entryCount; i++)
        {
            RawEntry entry = ReadEntry();
            if (file.Span(entry.KeyOffset, entry.KeyBytes).SequenceEqual("general.alignment"u8)) alignmentOffset = CheckAlignment(entry);
        }

        long metadataEnd = _cursor.Position;
        Alignment = alignmentOffset < 0 ? GgufLimits.DefaultAlignment : BinaryPrimitives.ReadUInt32LittleEndian(file.Span(alignmentOffset, sizeof(uint)));

        long expectedOffset = 0;
        for (int i = 0; i < _tensorCount; i++) ReadTensor(ref expectedOffset);
        _cursor.NoSubject();
        long dataStart = GgufLimits.Pad(_cursor.Position, Alignment);

        _cursor.Position = GgufLimits.HeaderBytes;
        Metadata = MakeMetadata(metadataEnd);
        Tensors = MakeTensors(dataStart);
        EndIsPadded = file.Length >= dataStart + expectedOffset;
    }

    public MappedFile File => _file;

    public uint Version { get; }

    public uint Alignment { get; }

    public GgufMetadata Metadata { get; }

    public GgufTensor[] Tensors { get; }

    /// <summary>Whether the file goes on to the next multiple of the alignment after its last tensor, or after its metadata where it has no tensor.</summary>
    public bool EndIsPadded { get; }

    private (uint Version, int TensorCount, int EntryCount) ReadHeader()
    {
        if (_file.Length == 0) throw _cursor.Error(0, "the file is empty");
        ReadOnlySpan<byte> magic = _cursor.Read(4, "the magic 'GGUF'");
        if (!magic.SequenceEqual("GGUF"u8))
        {
            string hint = "it is no GGUF file";
            foreach ((byte[] start, string text) in s_otherFiles)
                if (magic.SequenceEqual(start)) hint = text;
            throw _cursor.Error(0, $"the file starts with {GgufException.Quote(magic)} instead of 'GGUF': {hint}");
        }

        uint version = _cursor.ReadUInt32("the version");
        if (version is < GgufLimits.MinVersion or > GgufLimits.MaxVersion)
        {
            string hint = BinaryPrimitives.ReverseEndianness(version) is >= 1 and <= GgufLimits.MaxVersion ? ": the file is byte-swapped (big-endian); convert it for a little-endian machine"
                : version == 1 ? ": the first version is no longer readable; convert the model again"
                : version > GgufLimits.MaxVersion ? ": it may be newer than this program" : "";
            throw _cursor.Error(4, $"the version is {version}; {GgufLimits.MinVersion} to {GgufLimits.MaxVersion} can be read{hint}");
        }

        ulong tensors = _cursor.ReadUInt64("the tensor count");
        ulong entries = _cursor.ReadUInt64("the metadata count");
        CheckCount("the tensor count", 8, tensors, GgufLimits.MaxTensors, GgufLimits.MinTensorBytes);
        CheckCount("the metadata count", 16, entries, GgufLimits.MaxEntries, GgufLimits.MinEntryBytes);
        return (version, (int)tensors, (int)entries);
    }

    private void CheckCount(string what, long offset, ulong count, int limit, int minBytes)
    {
        long possible = Math.Min(limit, _cursor.Remaining / minBytes);
        if (count > (ulong)possible) throw _cursor.Error(offset, $"{what} is {count}; the {_cursor.Remaining} bytes that follow hold at most {possible}");
    }

    private RawEntry ReadEntry()
    {
        RawEntry entry = default;
        _cursor.NoSubject();
        long start = _cursor.Position;
        entry.KeyBytes = _cursor.ReadLength(GgufLimits.MaxKeyBytes, "a key's length");
        if (entry.KeyBytes == 0) throw _cursor.Error(start, "a key is empty");
        entry.KeyOffset = _cursor.Position;
        if (!Utf8.IsValid(_cursor.Read(entry.KeyBytes, "a key"))) throw _cursor.Error(start, "a key is not valid UTF-8");

        _cursor.Subject("key", entry.KeyOffset, entry.KeyBytes);
        entry.Type = entry.ElementType = ReadValueType("the value's type");
        entry.Count = 1;
        if (entry.Type == GgufValueType.Array)
        {
            entry.ElementType = ReadValueType("the elements' type");
            if (entry.ElementType == GgufValueType.Array) throw _cursor.Error(_cursor.Position - sizeof(uint), "it holds an array of arrays, which cannot be read");
            // The shortest element takes one byte, so the count is bounded by the bytes that remain before it is multiplied.
            entry.Count = _cursor.ReadLength(GgufLimits.MaxArrayElements, "the array's element count");
        }

        entry.ValueOffset = _cursor.Position;
        if (entry.ElementType == GgufValueType.String)
            SkipStrings(entry.Count);
        else
            _cursor.Skip((long)entry.Count * GgufValueTypes.FixedBytes(entry.ElementType), entry.Type == GgufValueType.Array ? "the array" : "the value");
        entry.ValueBytes = _cursor.Position - entry.ValueOffset;
        return entry;
    }

    private GgufValueType ReadValueType(string what)
    {
        uint type = _cursor.ReadUInt32(what);
        if (type >= GgufValueTypes.Count) throw _cursor.Error(_cursor.Position - sizeof(uint), $"{what} is {type}; 0 to {GgufValueTypes.Count - 1} are known");
        return (GgufValueType)type;
    }

    private void SkipStrings(int count)
    {
        long start = _cursor.Position;
        if (count > _cursor.Remaining / sizeof(ulong)) throw _cursor.Error(start, $"the array of {count} strings needs {count * 8L} bytes or more; {_cursor.Remaining} remain");
        for (int i = 0; i < count; i++)
            _cursor.Skip(_cursor.ReadLength(GgufLimits.MaxStringBytes, "a string's length"), "a string");
        if (_cursor.Position - start > GgufLimits.MaxStringArrayBytes)
            throw _cursor.Error(start, $"the array of strings takes {_cursor.Position - start} bytes; at most {GgufLimits.MaxStringArrayBytes} are allowed");
    }

    private long CheckAlignment(RawEntry entry)
    {
        if (entry.Type != GgufValueType.UInt32) throw _cursor.Error(entry.ValueOffset, $"it holds {entry.Type}; UInt32 is needed");
        uint alignment = BinaryPrimitives.ReadUInt32LittleEndian(_file.Span(entry.ValueOffset, sizeof(uint)));
        if (!GgufLimits.IsAlignment(alignment)) throw _cursor.Error(entry.ValueOffset, $"it is {alignment}; a power of two from 1 to {GgufLimits.MaxAlignment} is needed");
        return entry.ValueOffset;
    }

    /// <param name="expectedOffset">Where the tensor's data has to start; moved to where the next tensor's has to. Both from the start of the data.</param>
    private RawTensor ReadTensor(ref long expectedOffset)
    {
        RawTensor tensor = default;
        _cursor.NoSubject();
        long start = _cursor.Position;
        tensor.NameBytes = _cursor.ReadLength(GgufLimits.MaxTensorNameBytes, "the length of a tensor's name");
        if (tensor.NameBytes == 0) throw _cursor.Error(start, "a tensor's name is empty");
        tensor.NameOffset = _cursor.Position;
        if (!Utf8.IsValid(_cursor.Read(tensor.NameBytes, "a tensor's name"))) throw _cursor.Error(start, "a tensor's name is not valid UTF-8");

        _cursor.Subject("tensor", tensor.NameOffset, tensor.NameBytes);
        uint dimensions = _cursor.ReadUInt32("the dimension count");
        if (dimensions is < 1 or > GgufLimits.MaxDimensions)
            throw _cursor.Error(_cursor.Position - sizeof(uint), $"the dimension count is {dimensions}; 1 to {GgufLimits.MaxDimensions} are possible");
        tensor.DimensionCount = (int)dimensions;
        long dimensionsOffset = _cursor.Position;
        tensor.Dimension0 = ReadDimension();
        tensor.Dimension1 = dimensions > 1 ? ReadDimension() : 1;
        tensor.Dimension2 = dimensions > 2 ? ReadDimension() : 1;
        tensor.Dimension3 = dimensions > 3 ? ReadDimension() : 1;
        if (tensor.Dimension2 * tensor.Dimension3 > GgufLimits.MaxExtent)
            throw _cursor.Error(dimensionsOffset, $"dimensions 2 and 3 make {tensor.Dimension2 * tensor.Dimension3} matrices; at most {GgufLimits.MaxExtent} are possible");

        uint type = _cursor.ReadUInt32("the type");
        tensor.Format = BlockFormats.FindStored(type) ?? throw _cursor.Error(_cursor.Position - sizeof(uint), GgmlTypes.Refusal(type));
        if (tensor.Dimension0 % tensor.Format.BlockValues != 0)
            throw _cursor.Error(dimensionsOffset, $"dimension 0 is {tensor.Dimension0}; {tensor.Format.Name} needs a multiple of {tensor.Format.BlockValues}");
        long rowBytes = tensor.Format.RowBytes(tensor.Dimension0);
        if (rowBytes > GgufLimits.MaxExtent) throw _cursor.Error(dimensionsOffset, $"a row takes {rowBytes} bytes; at most {GgufLimits.MaxExtent} are possible");
        // Each factor is below 2^31, so 128 bits hold the product.
        UInt128 bytes = (UInt128)rowBytes * (UInt128)tensor.Dimension1 * (UInt128)(tensor.Dimension2 * tensor.Dimension3);
        if (bytes > (UInt128)_file.Length) throw _cursor.Error(dimensionsOffset, $"its data takes {bytes} bytes; the file has {_file.Length}");
        tensor.Bytes = (long)bytes;

        ulong offset = _cursor.ReadUInt64("the data offset");
        if (offset != (ulong)expectedOffset)
            throw _cursor.Error(_cursor.Position - sizeof(ulong), $"its data offset is {offset}; {expectedOffset} is next at an alignment of {Alignment}");
        tensor.Offset = expectedOffset;
        if (expectedOffset > _file.Length - tensor.Bytes)
            throw _cursor.Error(_cursor.Position - sizeof(ulong), $"its data lies {expectedOffset} to {expectedOffset + tensor.Bytes} bytes into the data; the file has {_file.Length}");
        expectedOffset = GgufLimits.Pad(expectedOffset + tensor.Bytes, Alignment);
        return tensor;
    }

    private long ReadDimension()
    {
        long dimension = (long)_cursor.ReadUInt64("a dimension");
        if (dimension is < 0 or > GgufLimits.MaxExtent)
            throw _cursor.Error(_cursor.Position - sizeof(ulong), $"a dimension is {dimension}; 0 to {GgufLimits.MaxExtent} are possible");
        return dimension;
    }

    private GgufMetadata MakeMetadata(long metadataEnd)
    {
        GgufEntry[] entries = new GgufEntry[_entryCount];
        Dictionary<string, int> index = new(_entryCount, StringComparer.Ordinal);
        for (int i = 0; i < entries.Length; i++)
        {
            RawEntry raw = ReadEntry();
            string key = Encoding.UTF8.GetString(_file.Span(raw.KeyOffset, raw.KeyBytes));
            if (!index.TryAdd(key, i)) throw _cursor.Error(raw.KeyOffset, $"it is there twice, as entries {index[key]} and {i}");
            entries[i] = new GgufEntry(key, new GgufValue(_file, raw.ValueOffset, raw.ValueBytes, raw.Type, raw.ElementType, raw.Count));
        }

        return new GgufMetadata(entries, index, _file.Name, metadataEnd);
    }

    private GgufTensor[] MakeTensors(long dataStart)
    {
        GgufTensor[] tensors = new GgufTensor[_tensorCount];
        HashSet<string> names = new(_tensorCount, StringComparer.Ordinal);
        long expectedOffset = 0;
        for (int i = 0; i < tensors.Length; i++)
        {
            RawTensor raw = ReadTensor(ref expectedOffset);
            if (dataStart + raw.Offset + raw.Bytes > _file.Length)
                throw _cursor.Error(raw.NameOffset, $"its data ends at {dataStart + raw.Offset + raw.Bytes}; the file ends at {_file.Length}");
            string name = Encoding.UTF8.GetString(_file.Span(raw.NameOffset, raw.NameBytes));
            if (!names.Add(name)) throw _cursor.Error(raw.NameOffset, "there are two tensors of this name");
            ImmutableArray<long> dimensions = [.. new ReadOnlySpan<long>([raw.Dimension0, raw.Dimension1, raw.Dimension2, raw.Dimension3])[..raw.DimensionCount]];
            tensors[i] = new GgufTensor(_file, name, raw.Format, dimensions, dataStart + raw.Offset, raw.Bytes);
        }

        return tensors;
    }
}
