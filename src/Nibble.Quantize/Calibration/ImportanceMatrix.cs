using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;

namespace Nibble.Quantize.Calibration;

/// <summary>How much each column of each weight matters: mean squares of the activations that it met on a calibration text. llama.cpp's imatrix.</summary>
/// <remarks>Layouts: llama.cpp v0.5.0, tools/imatrix/imatrix.cpp and common/imatrix-loader.cpp.</remarks>
public sealed class ImportanceMatrix
{
    private const string TypeKey = "general.type";
    private const string TypeName = "imatrix";
    private const string DatasetsKey = "imatrix.datasets";
    private const string ChunkCountKey = "imatrix.chunk_count";
    private const string ChunkSizeKey = "imatrix.chunk_size";
    private const string SumsSuffix = ".in_sum2";
    private const string CountsSuffix = ".counts";

    private readonly SortedDictionary<string, ImportanceEntry> _entries = new(StringComparer.Ordinal);

    /// <summary>Holds entries.</summary>
    /// <param name="entries">An entry a weight, in any order.</param>
    /// <param name="datasets">Names of the texts.</param>
    /// <param name="chunkCount">Chunks of text that were evaluated.</param>
    /// <param name="chunkTokens">Ids of a chunk; 0 where it is unknown, as in the legacy format.</param>
    /// <exception cref="ArgumentException">Two entries have one name.</exception>
    public ImportanceMatrix(IEnumerable<ImportanceEntry> entries, IReadOnlyList<string> datasets, long chunkCount, long chunkTokens)
    {
        ArgumentNullException.ThrowIfNull(entries);
        ArgumentNullException.ThrowIfNull(datasets);
        ArgumentOutOfRangeException.ThrowIfNegative(chunkCount);
        ArgumentOutOfRangeException.ThrowIfNegative(chunkTokens);
        Datasets = datasets;
        ChunkCount = chunkCount;
        ChunkTokens = chunkTokens;
        foreach (ImportanceEntry entry in entries)
            if (!_entries.TryAdd(entry.Name, entry)) throw new ArgumentException($"there are two entries named '{entry.Name}'.", nameof(entries));
    }

    /// <summary>Names of the texts.</summary>
    public IReadOnlyList<string> Datasets { get; }

    /// <summary>Chunks of text that were evaluated.</summary>
    public long ChunkCount { get; }

    /// <summary>Ids of a chunk; 0 where it is unknown, as in the legacy format.</summary>
    public long ChunkTokens { get; }

    /// <summary>The entries by name, in the order of their names' code points.</summary>
    public IReadOnlyCollection<ImportanceEntry> Entries => _entries.Values;

    /// <summary>Reads a file of either of llama.cpp's formats: GGUF, or the legacy one (.dat).</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ImportanceException">It is no importance matrix that can be used.</exception>
    /// <exception cref="GgufException">It is a damaged GGUF file.</exception>
    /// <exception cref="FileNotFoundException">There is no such file.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static ImportanceMatrix Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (!File.Exists(path)) throw new FileNotFoundException($"There is no file '{Path.GetFileName(path)}' at the path given.", path);
        return IsGguf(path) ? ReadGguf(path) : LegacyImportance.Read(path);
    }

    /// <summary>The entries of a layer's statistics: one for each weight.</summary>
    /// <param name="layer">The statistics.</param>
    public static IEnumerable<ImportanceEntry> EntriesOf(LayerStatistics layer)
    {
        ArgumentNullException.ThrowIfNull(layer);
        return from input in layer.Inputs
               from weight in input.Weights
               select new ImportanceEntry(weight, input.SquareSums, [.. input.Counts.Select(count => (float)count)]);
    }

    /// <summary>The entry of a weight, if there is one.</summary>
    /// <param name="name">The weight's name.</param>
    /// <param name="entry">The entry.</param>
    public bool TryFind(string name, [NotNullWhen(true)] out ImportanceEntry? entry) => _entries.TryGetValue(name, out entry);

    /// <summary>E[x²] of every column of a weight.</summary>
    /// <param name="weight">The weight.</param>
    /// <returns>[matrices x columns], or [columns] for all matrices alike; null where the matrix has no entry of this name.</returns>
    /// <exception cref="ArgumentException">The entry has another number of values: the matrix is of another model.</exception>
    public float[]? Means(IWeightSource weight)
    {
        ArgumentNullException.ThrowIfNull(weight);
        if (!_entries.TryGetValue(weight.Name, out ImportanceEntry? entry)) return null;
        long values = entry.SquareSums.Length, needed = (long)weight.Columns * weight.Matrices;
        if (values != needed && values != weight.Columns)
            throw new ArgumentException($"the importance matrix has {values} values for '{weight.Name}'; the weight has {weight.Columns} columns and {weight.Matrices} matrices. It was made from another model.", nameof(weight));
        return entry.Means();
    }

    /// <summary>Writes the GGUF format, as llama.cpp does; a failure leaves no half file.</summary>
    /// <param name="path">The file; an existing one is replaced.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    /// <exception cref="ArgumentException">A weight's name is too long for a tensor's name with a suffix.</exception>
    public void Write(string path)
    {
        GgufWriter writer = new();
        writer.Set(TypeKey, TypeName)
            .Set(DatasetsKey, GgufValue.Array(Datasets))
            .Set(ChunkCountKey, checked((uint)ChunkCount))
            .Set(ChunkSizeKey, checked((uint)ChunkTokens));
        foreach (ImportanceEntry entry in _entries.Values)
        {
            AddTensor(writer, entry.Name + SumsSuffix, entry.SquareSums, entry.Counts.Length);
            AddTensor(writer, entry.Name + CountsSuffix, entry.Counts, entry.Counts.Length);
        }

        writer.Write(path);
    }

    /// <summary>Whether a file starts as a GGUF file does; the legacy format has no mark of its own.</summary>
    private static bool IsGguf(string path)
    {
        using FileStream file = File.OpenRead(path);
        Span<byte> magic = stackalloc byte[4];
        return file.ReadAtLeast(magic, magic.Length, throwOnEndOfStream: false) == magic.Length && magic.SequenceEqual("GGUF"u8);
    }

    private static void AddTensor(GgufWriter writer, string name, ReadOnlySpan<float> values, int parts) =>
        writer.AddTensor(name, BlockFormats.F32, parts == 1 ? [values.Length] : [values.Length / parts, parts], MemoryMarshal.AsBytes(values).ToArray());

    private static ImportanceMatrix ReadGguf(string path)
    {
        using GgufFile file = GgufFile.Open(path);
        string fileName = Path.GetFileName(path);
        string type = file.Metadata.GetString(TypeKey, TypeName)!;
        if (type != TypeName) throw new ImportanceException(fileName, $"{TypeKey} is '{type}'; '{TypeName}' is expected. Give a file that 'nibble importance' or llama.cpp's llama-imatrix wrote.");
        List<ImportanceEntry> entries = [];
        foreach (GgufTensor tensor in file.Tensors)
        {
            if (tensor.Name.EndsWith(CountsSuffix, StringComparison.Ordinal))
            {
                string owner = tensor.Name[..^CountsSuffix.Length];
                if (file.Find(owner + SumsSuffix) is null) throw new ImportanceException(fileName, $"tensor '{tensor.Name}' has no '{owner}{SumsSuffix}' beside it.");
            }

            if (!tensor.Name.EndsWith(SumsSuffix, StringComparison.Ordinal) || tensor.Name.Length == SumsSuffix.Length) continue;
            string name = tensor.Name[..^SumsSuffix.Length];
            GgufTensor counts = file.Find(name + CountsSuffix) ?? throw new ImportanceException(fileName, $"tensor '{tensor.Name}' has no '{name}{CountsSuffix}' beside it.");
            // llama.cpp rounds counts to whole numbers when it reads them.
            entries.Add(Entry(fileName, name, Values(fileName, tensor), Array.ConvertAll(Values(fileName, counts), count => MathF.Round(count, MidpointRounding.AwayFromZero))));
        }

        if (entries.Count == 0) throw new ImportanceException(fileName, $"none of its {file.Tensors.Count} tensors has a name that ends in {SumsSuffix}, so it is no importance matrix.");
        IReadOnlyList<string> datasets = file.Metadata.Contains(DatasetsKey) ? [.. file.Metadata.GetStrings(DatasetsKey)] : [];
        return new ImportanceMatrix(entries, datasets, file.Metadata.GetUInt32(ChunkCountKey, 0), file.Metadata.GetUInt32(ChunkSizeKey, 0));
    }

    internal static ImportanceEntry Entry(string fileName, string name, float[] squareSums, float[] counts)
    {
        try
        {
            return new ImportanceEntry(name, squareSums, counts);
        }
        catch (ArgumentException error)
        {
            throw new ImportanceException(fileName, error.ParamName is null ? error.Message : error.Message.Replace($" (Parameter '{error.ParamName}')", string.Empty, StringComparison.Ordinal));
        }
    }

    private static float[] Values(string fileName, GgufTensor tensor)
    {
        if (tensor.Format != BlockFormats.F32) throw new ImportanceException(fileName, $"tensor '{tensor.Name}' is {tensor.Format}; F32 is needed.");
        if (tensor.ByteLength / sizeof(float) > Array.MaxLength) throw new ImportanceException(fileName, $"tensor '{tensor.Name}' has {tensor.ByteLength / sizeof(float)} values; at most {Array.MaxLength} are possible.");
        float[] values = new float[tensor.ByteLength / sizeof(float)];
        for (long row = 0; row < tensor.RowCount; row++)
            tensor.Row(row).CopyTo(MemoryMarshal.AsBytes(values.AsSpan((int)(row * tensor.Columns), tensor.Columns)));
        return values;
    }
}
