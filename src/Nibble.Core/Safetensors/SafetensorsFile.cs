using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Text.Json;
using Nibble.Core.Memory;

namespace Nibble.Core.Safetensors;

/// <summary>
/// An open safetensors file, mapped into memory: a length, a JSON header, and the tensors' bytes without gap or overlap. All of it was checked against the bytes that are there;
/// <see cref="SafetensorsLimits"/> lists the bounds.
/// </summary>
/// <remarks>Layout: safetensors 0.6, README.md "Format".</remarks>
public sealed class SafetensorsFile : IDisposable
{
    private readonly MappedFile _file;
    private readonly Dictionary<string, SafetensorsTensor> _byName = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _metadata = new(StringComparer.Ordinal);

    private SafetensorsFile(MappedFile file)
    {
        _file = file;
        long dataStart = HeaderEnd(file);
        ReadOnlySpan<byte> header = file.Span(SafetensorsLimits.LengthBytes, (int)(dataStart - SafetensorsLimits.LengthBytes));
        try
        {
            ReadHeader(header, dataStart);
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            throw Fault($"the header is no JSON that can be read: {error.Message}");
        }

        Tensors = [.. _byName.Values.OrderBy(tensor => tensor.FileOffset).ThenBy(tensor => tensor.ByteLength)];
        CheckTiling(dataStart);
    }

    /// <summary>The file's name without its folder.</summary>
    public string Name => _file.Name;

    /// <summary>The tensors, in the order of their bytes.</summary>
    public ImmutableArray<SafetensorsTensor> Tensors { get; }

    /// <summary>The header's <c>__metadata__</c>: texts by name.</summary>
    public IReadOnlyDictionary<string, string> Metadata => _metadata;

    /// <summary>Maps a file and checks everything in it.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="SafetensorsException">The file is no safetensors file that can be used.</exception>
    /// <exception cref="FileNotFoundException">There is no such file.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static SafetensorsFile Open(string path)
    {
        if (!BitConverter.IsLittleEndian) throw new PlatformNotSupportedException("Weights are used in place, which needs a little-endian machine.");
        MappedFile file = MappedFile.Open(path);
        try
        {
            return new SafetensorsFile(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>A tensor by name, or null.</summary>
    public SafetensorsTensor? Find(string name) => _byName.GetValueOrDefault(name);

    /// <summary>Unmaps the file. Bytes of tensors are then no longer valid, and asking for some throws.</summary>
    public void Dispose() => _file.Dispose();

    private static long HeaderEnd(MappedFile file)
    {
        if (file.Length < SafetensorsLimits.LengthBytes)
            throw new SafetensorsException(file.Name, $"the file has {file.Length} bytes; a safetensors file has at least the {SafetensorsLimits.LengthBytes} of its header's length.");
        ReadOnlySpan<byte> start = file.Span(0, SafetensorsLimits.LengthBytes);
        ulong length = BinaryPrimitives.ReadUInt64LittleEndian(start);
        long most = Math.Min(SafetensorsLimits.MaxHeaderBytes, file.Length - SafetensorsLimits.LengthBytes);
        if (length > (ulong)most)
        {
            string hint = start.StartsWith("version "u8) ? " It looks like a Git LFS pointer; fetch the file itself with 'git lfs pull'."
                : start.StartsWith("PK"u8) ? " It looks like a zip archive or a PyTorch checkpoint; convert it to safetensors."
                : string.Empty;
            throw new SafetensorsException(file.Name, $"the header's length is {length}; at most {most} is possible here.{hint}");
        }

        if (length < 2) throw new SafetensorsException(file.Name, $"the header's length is {length}; a JSON object has at least 2 bytes.");
        return SafetensorsLimits.LengthBytes + (long)length;
    }

    private void ReadHeader(ReadOnlySpan<byte> header, long dataStart)
    {
        // The standard wants '{' first; spaces may follow the object.
        if (header[0] != '{') throw Fault($"the header starts with byte 0x{header[0]:X2}; a safetensors header starts with '{{' (0x7B).");
        Utf8JsonReader reader = new(header, new JsonReaderOptions { MaxDepth = 8 });
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueSpan.Length > SafetensorsLimits.MaxNameBytes)
                throw Fault($"a tensor's name has {reader.ValueSpan.Length} bytes; at most {SafetensorsLimits.MaxNameBytes} are possible.");
            string name = reader.GetString()!;
            reader.Read();
            if (reader.TokenType != JsonTokenType.StartObject) throw Fault($"{Quote(name)} is a {reader.TokenType} in the header; an object is needed.");
            if (name == "__metadata__")
            {
                ReadMetadata(ref reader);
                continue;
            }

            if (_byName.Count == SafetensorsLimits.MaxTensors) throw Fault($"the header has more than {SafetensorsLimits.MaxTensors} tensors.");
            if (!_byName.TryAdd(name, ReadTensor(ref reader, name, dataStart))) throw Fault($"tensor {Quote(name)} is in the header twice.");
        }

        // Anything but white space after the object is an error of the reader.
        reader.Read();
    }

    private void ReadMetadata(ref Utf8JsonReader reader)
    {
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string key = reader.GetString()!;
            reader.Read();
            if (reader.TokenType != JsonTokenType.String) throw Fault($"__metadata__ {Quote(key)} is a {reader.TokenType}; a string is needed.");
            if (!_metadata.TryAdd(key, reader.GetString()!)) throw Fault($"__metadata__ has {Quote(key)} twice.");
        }
    }

    private SafetensorsTensor ReadTensor(ref Utf8JsonReader reader, string name, long dataStart)
    {
        SafetensorsType? type = null;
        long[]? shape = null, offsets = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string key = reader.GetString()!;
            reader.Read();
            switch (key)
            {
                case "dtype" when type is null:
                    string text = reader.TokenType == JsonTokenType.String ? reader.GetString()! : throw Fault($"tensor {Quote(name)}: dtype is a {reader.TokenType}; a string is needed.");
                    type = SafetensorsTypes.Find(text) ?? throw Fault($"tensor {Quote(name)}: dtype {Quote(text)} is not known; known are {string.Join(", ", SafetensorsTypes.Names)}.");
                    break;
                case "shape" when shape is null:
                    shape = ReadNumbers(ref reader, name, key, SafetensorsLimits.MaxDimensions, SafetensorsLimits.MaxExtent);
                    break;
                case "data_offsets" when offsets is null:
                    offsets = ReadNumbers(ref reader, name, key, 2, long.MaxValue);
                    break;
                case "dtype" or "shape" or "data_offsets":
                    throw Fault($"tensor {Quote(name)} has {key} twice.");
                default:
                    throw Fault($"tensor {Quote(name)} has a field {Quote(key)}; only dtype, shape and data_offsets are possible.");
            }
        }

        if (type is null || shape is null || offsets is null)
            throw Fault($"tensor {Quote(name)} has no {(type is null ? "dtype" : shape is null ? "shape" : "data_offsets")}.");
        if (offsets.Length != 2) throw Fault($"tensor {Quote(name)}: data_offsets has {offsets.Length} numbers; 2 are needed.");
        long dataBytes = _file.Length - dataStart, begin = offsets[0], end = offsets[1];
        if (begin > end || end > dataBytes) throw Fault($"tensor {Quote(name)}: data_offsets are {begin} to {end}; the file has data from 0 to {dataBytes}.");
        UInt128 bytes = (UInt128)type.Value.Bytes();
        foreach (long extent in shape)
        {
            bytes *= (UInt128)extent;
            // Eight extents of 2^40 would not fit; above what the file has nothing is right anyway.
            if (bytes > (UInt128)long.MaxValue) bytes = (UInt128)long.MaxValue;
        }

        if (Array.IndexOf(shape, 0) >= 0) bytes = 0;
        if ((UInt128)(end - begin) != bytes)
            throw Fault($"tensor {Quote(name)}: data_offsets give {end - begin} bytes; {type.Value.Name()} {SafetensorsTensor.Text(shape)} takes {bytes}.");
        return new SafetensorsTensor(_file, name, type.Value, [.. shape], dataStart + begin, end - begin);
    }

    private long[] ReadNumbers(ref Utf8JsonReader reader, string tensor, string key, int most, long highest)
    {
        if (reader.TokenType != JsonTokenType.StartArray) throw Fault($"tensor {Quote(tensor)}: {key} is a {reader.TokenType}; an array is needed.");
        List<long> numbers = [];
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (numbers.Count == most) throw Fault($"tensor {Quote(tensor)}: {key} has more than {most} numbers.");
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out long number) || number < 0 || number > highest)
                throw Fault($"tensor {Quote(tensor)}: {key} holds something other than whole numbers from 0 to {highest}.");
            numbers.Add(number);
        }

        return [.. numbers];
    }

    // The standard: no two tensors share bytes, and every byte belongs to one.
    private void CheckTiling(long dataStart)
    {
        long expected = dataStart;
        foreach (SafetensorsTensor tensor in Tensors)
        {
            if (tensor.FileOffset != expected)
            {
                string what = tensor.FileOffset < expected ? "overlaps the tensor before it, which ends" : "leaves a gap after the tensor before it, which ends";
                throw Fault($"tensor {Quote(tensor.Name)} begins at {tensor.FileOffset - dataStart} and {what} at {expected - dataStart}.");
            }

            expected += tensor.ByteLength;
        }

        if (expected != _file.Length) throw Fault($"the tensors end at {expected - dataStart}; the file has {_file.Length - dataStart} bytes of data, and all must belong to a tensor.");
    }

    private SafetensorsException Fault(string reason) => new(_file.Name, reason);

    private static string Quote(string text) => SafetensorsException.Quote(text);
}
