using System.Globalization;
using Nibble.Core.Encodings;
using Nibble.Core.Memory;

namespace Nibble.Core.Gguf;

/// <summary>
/// An open GGUF file of version 2 or 3, mapped into memory, with the files that it is split into. Everything in it was checked against the
/// bytes that are there; <see cref="GgufLimits"/> lists the bounds.
/// </summary>
public sealed class GgufFile : IDisposable
{
    private readonly GgufPart[] _parts;
    private readonly Dictionary<string, GgufTensor> _byName;
    private FileWeights? _weights;

    private GgufFile(string path, GgufPart[] parts)
    {
        Path = path;
        _parts = parts;
        Tensors = parts.Length == 1 ? parts[0].Tensors : [.. parts.SelectMany(part => part.Tensors)];
        _byName = new Dictionary<string, GgufTensor>(Tensors.Count, StringComparer.Ordinal);
        foreach (GgufPart part in parts)
            foreach (GgufTensor tensor in part.Tensors)
                if (!_byName.TryAdd(tensor.Name, tensor))
                    throw new GgufException(part.File.Name, tensor.FileOffset, $"tensor {GgufException.Quote(tensor.Name)} is in an earlier part, too.");
    }

    /// <summary>The path that was opened: the first part's where the model is split.</summary>
    public string Path { get; }

    /// <summary>The files that were opened, in order; one unless the model is split.</summary>
    public IReadOnlyList<string> PartPaths => [.. _parts.Select(part => part.File.Path)];

    /// <summary>Bytes of all parts.</summary>
    public long FileBytes => _parts.Sum(part => part.File.Length);

    /// <summary>The version of the layout, 2 or 3 (of the first part).</summary>
    public uint Version => _parts[0].Version;

    /// <summary>The alignment of tensor data in bytes, a power of two (of the first part).</summary>
    public uint Alignment => _parts[0].Alignment;

    /// <summary>The metadata (of the first part; the others repeat nothing but <c>split.*</c>).</summary>
    public GgufMetadata Metadata => _parts[0].Metadata;

    /// <summary>All tensors in the file's order, part by part.</summary>
    public IReadOnlyList<GgufTensor> Tensors { get; }

    /// <summary>Whether the file goes on to the next multiple of the alignment after its last tensor.</summary>
    internal bool EndIsPadded => _parts[^1].EndIsPadded;

    /// <summary>Maps a file and checks everything in it. Where its <c>split.count</c> is above 1, the files <c>NAME-00002-of-0000N.gguf</c> beside it are opened, too.</summary>
    /// <param name="path">The file; of a split model the first part.</param>
    /// <exception cref="GgufException">The file, or a part, is no GGUF file that can be used.</exception>
    /// <exception cref="FileNotFoundException">There is no such file, or a part is missing.</exception>
    /// <exception cref="IOException">A file cannot be read.</exception>
    public static GgufFile Open(string path)
    {
        if (!BitConverter.IsLittleEndian) throw new PlatformNotSupportedException("GGUF weights are used in place, which needs a little-endian machine.");
        List<MappedFile> maps = [];
        try
        {
            GgufPart first = OpenPart(path, maps);
            int count = SplitCount(first);
            GgufPart[] parts = new GgufPart[count];
            parts[0] = first;
            for (int i = 1; i < count; i++)
            {
                parts[i] = OpenPart(PartPath(path, i, count), maps);
                CheckPart(parts[i], i, count);
            }

            CheckTensorCount(parts);
            return new GgufFile(path, parts);
        }
        catch
        {
            foreach (MappedFile map in maps) map.Dispose();
            throw;
        }
    }

    /// <summary>All weights: plain tensors, and encoded ones under their own names in the place of their parts. Read when first asked for.</summary>
    /// <exception cref="GgufException">An encoded tensor cannot be read.</exception>
    public FileWeights Weights => _weights ??= new FileWeights(this);

    /// <summary>A tensor by name, or null.</summary>
    public GgufTensor? Find(string name) => _byName.GetValueOrDefault(name);

    /// <summary>Unmaps the files. Spans of rows are then no longer valid, and asking for one throws.</summary>
    public void Dispose()
    {
        foreach (GgufPart part in _parts) part.File.Dispose();
    }

    private static GgufPart OpenPart(string path, List<MappedFile> maps)
    {
        MappedFile map = MappedFile.Open(path);
        maps.Add(map);
        return new GgufPart(map);
    }

    private static int SplitCount(GgufPart first)
    {
        uint count = first.Metadata.GetUInt32(SplitKeys.Count, 1);
        if (count <= 1) return 1;
        if (count > GgufLimits.MaxParts) throw first.Metadata.Error(SplitKeys.Count, $"it is {count}; at most {GgufLimits.MaxParts} parts are possible.");
        uint number = first.Metadata.GetUInt32(SplitKeys.Number);
        string name = first.File.Name;
        if (number != 0)
            throw first.Metadata.Error(SplitKeys.Number, $"this is part {number + 1L} of {count}; open the first part, whose name ends in {Suffix(0, (int)count)}.");
        if (!name.EndsWith(Suffix(0, (int)count), StringComparison.OrdinalIgnoreCase))
            throw first.Metadata.Error(SplitKeys.Count, $"the model has {count} parts, so this file's name must end in {Suffix(0, (int)count)} for the others to be found.");
        return (int)count;
    }

    private static void CheckPart(GgufPart part, int index, int count)
    {
        uint number = part.Metadata.GetUInt32(SplitKeys.Number);
        if (number != index) throw part.Metadata.Error(SplitKeys.Number, $"it is {number}; {index} is expected from the file's name.");
        uint partCount = part.Metadata.GetUInt32(SplitKeys.Count, (uint)count);
        if (partCount != count) throw part.Metadata.Error(SplitKeys.Count, $"it is {partCount}; the first part says {count}.");
    }

    private static void CheckTensorCount(GgufPart[] parts)
    {
        if (parts.Length == 1 || parts[0].Metadata.FindUInt32(SplitKeys.TensorCount) is not { } expected) return;
        long tensors = parts.Sum(part => (long)part.Tensors.Length);
        if (tensors != expected) throw parts[0].Metadata.Error(SplitKeys.TensorCount, $"it is {expected}; the {parts.Length} parts hold {tensors} tensors.");
    }

    private static string PartPath(string firstPath, int index, int count) => firstPath[..^Suffix(0, count).Length] + Suffix(index, count);

    private static string Suffix(int index, int count) => string.Create(CultureInfo.InvariantCulture, $"-{index + 1:D5}-of-{count:D5}.gguf");
}

/// <summary>The metadata keys of a model that is split into several files (gguf-split of llama.cpp).</summary>
internal static class SplitKeys
{
    public const string Number = "split.no";
    public const string Count = "split.count";
    public const string TensorCount = "split.tensors.count";

    public static readonly string[] All = [Number, Count, TensorCount];
}
