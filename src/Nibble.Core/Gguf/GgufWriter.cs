using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Text;
using Nibble.Core.Formats;

namespace Nibble.Core.Gguf;

/// <summary>
/// Writes a GGUF file: metadata in the order in which it is set, tensors in the order in which they are added. Tensor data is asked for while
/// the file is written, so that a model need not fit into memory. A file that was read and not changed comes out byte for byte the same,
/// bytes after its last tensor and bytes between its tensors aside, which become the padding's zeros.
/// </summary>
public sealed class GgufWriter
{
    private readonly List<KeyValuePair<string, GgufValue>> _entries = [];
    private readonly Dictionary<string, int> _entryIndex = new(StringComparer.Ordinal);
    private readonly List<PendingTensor> _tensors = [];
    private readonly HashSet<string> _tensorNames = new(StringComparer.Ordinal);

    private sealed record PendingTensor(string Name, BlockFormat Format, ImmutableArray<long> Dimensions, long ByteLength, Action<Stream> WriteData, int Turn);

    /// <summary>Starts an empty file.</summary>
    /// <param name="version">2 or 3; both have one layout.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="version"/> is another.</exception>
    public GgufWriter(uint version = GgufLimits.MaxVersion)
    {
        if (version is < GgufLimits.MinVersion or > GgufLimits.MaxVersion)
            throw new ArgumentOutOfRangeException(nameof(version), $"version is {version}; {GgufLimits.MinVersion} to {GgufLimits.MaxVersion} can be written.");
        Version = version;
    }

    /// <summary>The version of the layout.</summary>
    public uint Version { get; }

    /// <summary>The alignment of tensor data in bytes: what <c>general.alignment</c> was set to, otherwise <see cref="GgufLimits.DefaultAlignment"/>.</summary>
    public uint Alignment { get; private set; } = GgufLimits.DefaultAlignment;

    /// <summary>Whether zeros follow the last tensor (or the metadata, where there is no tensor) up to the alignment. Readers need none; ggml writes them after tensors.</summary>
    public bool PadEnd { get; set; } = true;

    /// <summary>Starts with everything that an open file holds. The parts of a split model are joined and lose their <c>split.*</c> entries.</summary>
    /// <param name="file">The file; it stays open until the new one is written.</param>
    public static GgufWriter From(GgufFile file)
    {
        ArgumentNullException.ThrowIfNull(file);
        bool split = file.PartPaths.Count > 1;
        GgufWriter writer = new(file.Version) { PadEnd = file.EndIsPadded };
        foreach (GgufEntry entry in file.Metadata)
            if (!split || !SplitKeys.All.Contains(entry.Key)) writer.Set(entry.Key, entry.Value);
        foreach (GgufTensor tensor in file.Tensors) writer.AddTensor(tensor);
        return writer;
    }

    /// <summary>Sets a metadata entry: in its place where the key is there, otherwise at the end.</summary>
    /// <param name="key">1 to <see cref="GgufLimits.MaxKeyBytes"/> bytes of UTF-8.</param>
    /// <param name="value">A scalar or string converts by itself; an array comes from <see cref="GgufValue.Array(ReadOnlySpan{uint})"/> and its siblings.</param>
    /// <returns>This writer.</returns>
    /// <exception cref="ArgumentException">The key or value cannot stand in a file, or <c>general.alignment</c> is no uint32 that is a power of two up to <see cref="GgufLimits.MaxAlignment"/>.</exception>
    public GgufWriter Set(string key, GgufValue value)
    {
        ArgumentException.ThrowIfNullOrEmpty(key);
        if (value.IsDefault) throw new ArgumentException($"The value of '{key}' is default(GgufValue), which is no value.", nameof(value));
        int keyBytes = Utf8Bytes(key, nameof(key)).Length;
        if (keyBytes > GgufLimits.MaxKeyBytes) throw new ArgumentException($"The key has {keyBytes} bytes; at most {GgufLimits.MaxKeyBytes} are allowed.", nameof(key));
        if (key == GgufLimits.AlignmentKey) Alignment = AlignmentOf(value);

        KeyValuePair<string, GgufValue> entry = new(key, value);
        if (_entryIndex.TryGetValue(key, out int index))
        {
            _entries[index] = entry;
        }
        else
        {
            if (_entries.Count == GgufLimits.MaxEntries) throw new ArgumentException($"The file has {_entries.Count} metadata entries; no more are allowed.", nameof(key));
            _entryIndex.Add(key, _entries.Count);
            _entries.Add(entry);
        }

        return this;
    }

    /// <summary>Removes a metadata entry.</summary>
    /// <returns>False where the key was absent.</returns>
    public bool Remove(string key)
    {
        if (!_entryIndex.Remove(key, out int index)) return false;
        _entries.RemoveAt(index);
        for (int i = index; i < _entries.Count; i++) _entryIndex[_entries[i].Key] = i;
        if (key == GgufLimits.AlignmentKey) Alignment = GgufLimits.DefaultAlignment;
        return true;
    }

    /// <summary>Adds a tensor of an open file as it is.</summary>
    /// <param name="tensor">The tensor; its file stays open until the new one is written.</param>
    /// <returns>This writer.</returns>
    /// <exception cref="ArgumentException">There is a tensor of this name.</exception>
    public GgufWriter AddTensor(GgufTensor tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        return AddTensor(tensor.Name, tensor.Format, tensor.Dimensions.AsSpan(), tensor.CopyTo);
    }

    /// <summary>Adds a tensor whose data is in memory.</summary>
    /// <param name="name">1 to <see cref="GgufLimits.MaxTensorNameBytes"/> bytes of UTF-8, unique.</param>
    /// <param name="format">How the values are stored.</param>
    /// <param name="dimensions">One to four; the first is the contiguous one and a multiple of the format's block.</param>
    /// <param name="data">All rows, without gaps.</param>
    /// <returns>This writer.</returns>
    /// <exception cref="ArgumentException">The tensor cannot stand in a file, or <paramref name="data"/> has another length than format and dimensions give.</exception>
    public GgufWriter AddTensor(string name, BlockFormat format, ReadOnlySpan<long> dimensions, ReadOnlyMemory<byte> data)
    {
        AddTensor(name, format, dimensions, stream => stream.Write(data.Span));
        long needed = _tensors[^1].ByteLength;
        if (data.Length == needed) return this;
        _tensors.RemoveAt(_tensors.Count - 1);
        _tensorNames.Remove(name);
        throw new ArgumentException($"The data of tensor '{name}' has {data.Length} bytes; {format} [{string.Join(", ", dimensions.ToArray())}] takes {needed}.", nameof(data));
    }

    /// <summary>Adds a tensor whose data is made while the file is written.</summary>
    /// <param name="name">1 to <see cref="GgufLimits.MaxTensorNameBytes"/> bytes of UTF-8, unique.</param>
    /// <param name="format">How the values are stored.</param>
    /// <param name="dimensions">One to four; the first is the contiguous one and a multiple of the format's block.</param>
    /// <param name="writeData">Called once per written file; writes all rows, without gaps, to the stream that it is given, whose position is the place in the file.</param>
    /// <param name="turn">Tensors of a lower turn are asked for first, wherever they stand in the file; with more than one turn the file can only be written to a stream that can seek.</param>
    /// <returns>This writer.</returns>
    /// <exception cref="ArgumentException">The tensor cannot stand in a file.</exception>
    public GgufWriter AddTensor(string name, BlockFormat format, ReadOnlySpan<long> dimensions, Action<Stream> writeData, int turn = 0)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentNullException.ThrowIfNull(format);
        ArgumentNullException.ThrowIfNull(writeData);
        int nameBytes = Utf8Bytes(name, nameof(name)).Length;
        if (nameBytes > GgufLimits.MaxTensorNameBytes)
            throw new ArgumentException($"The tensor name '{name}' has {nameBytes} bytes; at most {GgufLimits.MaxTensorNameBytes} are allowed.", nameof(name));
        if (_tensors.Count == GgufLimits.MaxTensors) throw new ArgumentException($"The file has {_tensors.Count} tensors; no more are allowed.", nameof(name));
        long byteLength = CheckedByteLength(name, format, dimensions);
        if (!_tensorNames.Add(name)) throw new ArgumentException($"There are two tensors named '{name}'.", nameof(name));
        _tensors.Add(new PendingTensor(name, format, [.. dimensions], byteLength, writeData, turn));
        return this;
    }

    /// <summary>Writes the file. It is written beside its place under another name and moved there when it is whole, so that a failure leaves no half file. A file that is open may be replaced, except on Windows.</summary>
    /// <param name="path">The file; an existing one is replaced.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    /// <exception cref="InvalidOperationException">A tensor's data had another length than its format and dimensions give.</exception>
    public void Write(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        string partial = path + ".partial";
        try
        {
            using (FileStream stream = new(partial, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0)) Write(stream);
            File.Move(partial, path, overwrite: true);
        }
        catch
        {
            File.Delete(partial);
            throw;
        }
    }

    /// <summary>Writes the file to a stream, which need not seek where all tensors have one turn, and stays open. Behind the call it stands at the file's end.</summary>
    /// <param name="stream">Where to.</param>
    /// <exception cref="ArgumentException">Tensors have several turns, and the stream cannot seek.</exception>
    /// <exception cref="InvalidOperationException">A tensor's data had another length than its format and dimensions give.</exception>
    public void Write(Stream stream)
    {
        ArgumentNullException.ThrowIfNull(stream);
        if (!stream.CanSeek && _tensors.Any(tensor => tensor.Turn != _tensors[0].Turn)) throw new ArgumentException("Tensors are asked for in another order than they stand in the file, and the stream cannot seek.", nameof(stream));
        GgufOutput output = new(stream);
        WriteHead(output);
        long[] places = Places(output.Position);
        if (_tensors.Count > 0 || PadEnd) output.Pad(Alignment);
        foreach (int i in Enumerable.Range(0, _tensors.Count).OrderBy(i => _tensors[i].Turn))
        {
            PendingTensor tensor = _tensors[i];
            if (output.Position != places[i]) output.MoveTo(places[i]);
            output.BeginTensor(tensor.Name, tensor.ByteLength);
            tensor.WriteData(output);
            output.EndTensor();
            if (i + 1 < _tensors.Count || PadEnd) output.Pad(Alignment);
        }

        if (output.Position != places[^1]) output.MoveTo(places[^1]);
        output.Flush();
    }

    /// <summary>Bytes of the file that <see cref="Write(Stream)"/> writes; no tensor's data is asked for.</summary>
    public long FileBytes
    {
        get
        {
            using GgufOutput output = new(Stream.Null);
            WriteHead(output);
            return Places(output.Position)[^1];
        }
    }

    // Where each tensor begins, and where the file ends.
    private long[] Places(long headBytes)
    {
        long[] places = new long[_tensors.Count + 1];
        long end = headBytes;
        for (int i = 0; i < _tensors.Count; i++)
        {
            places[i] = GgufLimits.Pad(end, Alignment);
            end = checked(places[i] + _tensors[i].ByteLength);
        }

        places[^1] = PadEnd ? GgufLimits.Pad(end, Alignment) : end;
        return places;
    }

    private void WriteHead(GgufOutput output)
    {
        output.Write("GGUF"u8);
        output.WriteUInt32(Version);
        output.WriteUInt64((ulong)_tensors.Count);
        output.WriteUInt64((ulong)_entries.Count);
        foreach ((string key, GgufValue value) in _entries) WriteEntry(output, key, value);

        long dataOffset = 0;
        foreach (PendingTensor tensor in _tensors)
        {
            output.WriteString(tensor.Name);
            output.WriteUInt32((uint)tensor.Dimensions.Length);
            foreach (long dimension in tensor.Dimensions) output.WriteUInt64((ulong)dimension);
            output.WriteUInt32(tensor.Format.Id);
            output.WriteUInt64((ulong)dataOffset);
            dataOffset = GgufLimits.Pad(checked(dataOffset + tensor.ByteLength), Alignment);
        }
    }

    private static void WriteEntry(GgufOutput output, string key, GgufValue value)
    {
        output.WriteString(key);
        output.WriteUInt32((uint)value.Type);
        if (value.Type == GgufValueType.Array)
        {
            output.WriteUInt32((uint)value.ElementType);
            output.WriteUInt64((ulong)value.Count);
        }

        value.CopyTo(output);
    }

    private static uint AlignmentOf(GgufValue value)
    {
        if (value.Type != GgufValueType.UInt32) throw new ArgumentException($"{GgufLimits.AlignmentKey} is of type {value.Type}; UInt32 is needed.", nameof(value));
        uint alignment = BinaryPrimitives.ReadUInt32LittleEndian(value.Bytes(0, sizeof(uint)));
        if (!GgufLimits.IsAlignment(alignment))
            throw new ArgumentException($"{GgufLimits.AlignmentKey} is {alignment}; a power of two from 1 to {GgufLimits.MaxAlignment} is needed.", nameof(value));
        return alignment;
    }

    private static long CheckedByteLength(string name, BlockFormat format, ReadOnlySpan<long> dimensions)
    {
        if (dimensions.Length is < 1 or > GgufLimits.MaxDimensions)
            throw new ArgumentException($"Tensor '{name}' has {dimensions.Length} dimensions; 1 to {GgufLimits.MaxDimensions} are possible.", nameof(dimensions));
        foreach (long dimension in dimensions)
            if (dimension is < 0 or > GgufLimits.MaxExtent)
                throw new ArgumentException($"Tensor '{name}' has a dimension of {dimension}; 0 to {GgufLimits.MaxExtent} are possible.", nameof(dimensions));
        UInt128 bytes = (UInt128)format.RowBytes(dimensions[0]);
        if (bytes > GgufLimits.MaxExtent) throw new ArgumentException($"Tensor '{name}' has rows of {bytes} bytes; at most {GgufLimits.MaxExtent} are possible.", nameof(dimensions));
        UInt128 matrices = 1;
        for (int i = 1; i < dimensions.Length; i++)
        {
            bytes *= (UInt128)dimensions[i];
            if (i >= 2) matrices *= (UInt128)dimensions[i];
        }

        if (matrices > GgufLimits.MaxExtent) throw new ArgumentException($"Tensor '{name}' has {matrices} matrices; at most {GgufLimits.MaxExtent} are possible.", nameof(dimensions));
        if (bytes > long.MaxValue / 2) throw new ArgumentException($"Tensor '{name}' takes {bytes} bytes; at most {long.MaxValue / 2} are possible.", nameof(dimensions));
        return (long)bytes;
    }

    private static byte[] Utf8Bytes(string text, string parameter)
    {
        try
        {
            return GgufOutput.StrictUtf8.GetBytes(text);
        }
        catch (EncoderFallbackException)
        {
            throw new ArgumentException($"'{text}' holds half a surrogate pair and cannot be written as UTF-8.", parameter);
        }
    }
}
