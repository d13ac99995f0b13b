using Nibble.Core.Safetensors;

namespace Nibble.Quantize.Import;

/// <summary>A Hugging Face folder: <c>config.json</c> and the tensors of one safetensors file, or of the shards that an index names.</summary>
internal sealed class CheckpointFolder : IDisposable
{
    private const string SingleFile = "model.safetensors";
    private const string IndexFile = "model.safetensors.index.json";
    private const int MaxShards = 4096;

    private readonly List<SafetensorsFile> _files = [];
    private readonly Dictionary<string, SafetensorsTensor> _tensors = new(StringComparer.Ordinal);
    private readonly HashSet<string> _taken = new(StringComparer.Ordinal);

    private CheckpointFolder(string path)
    {
        Path = System.IO.Path.GetFullPath(path);
        Name = System.IO.Path.GetFileName(System.IO.Path.TrimEndingDirectorySeparator(Path));
        Config = JsonFields.Read(PathOf("config.json"));
    }

    /// <summary>The folder.</summary>
    public string Path { get; }

    /// <summary>The folder's own name.</summary>
    public string Name { get; }

    /// <summary><c>config.json</c>.</summary>
    public JsonFields Config { get; }

    /// <summary>The file that says which tensors there are: the index, or the only safetensors file. Errors about missing tensors name it.</summary>
    public string WeightsFile { get; private set; } = SingleFile;

    /// <summary>Safetensors files.</summary>
    public int FileCount => _files.Count;

    /// <summary>Bytes of all tensors.</summary>
    public long TensorBytes => _tensors.Values.Sum(tensor => tensor.ByteLength);

    /// <summary>The names of all tensors.</summary>
    public IEnumerable<string> TensorNames => _tensors.Keys;

    /// <summary>The tensors that nothing asked for, by name.</summary>
    public IEnumerable<SafetensorsTensor> Unused => _tensors.Values.Where(tensor => !_taken.Contains(tensor.Name)).OrderBy(tensor => tensor.Name, StringComparer.Ordinal);

    /// <summary>Opens a folder: maps its safetensors files and checks them.</summary>
    /// <exception cref="ImportException">A file is missing or contradicts another.</exception>
    /// <exception cref="SafetensorsException">A safetensors file cannot be used.</exception>
    public static CheckpointFolder Open(string path)
    {
        if (File.Exists(path)) throw new ImportException(System.IO.Path.GetFileName(path), "this is a file; name the folder that holds config.json and the safetensors files.");
        if (!Directory.Exists(path)) throw new ImportException(path, "there is no such folder.");
        CheckpointFolder folder = new(path);
        try
        {
            if (File.Exists(folder.PathOf(SingleFile))) folder.OpenShard(SingleFile);
            else if (File.Exists(folder.PathOf(IndexFile))) folder.OpenIndex();
            else throw folder.NoWeights();
            return folder;
        }
        catch
        {
            folder.Dispose();
            throw;
        }
    }

    /// <summary>The path of a file in the folder.</summary>
    public string PathOf(string file) => System.IO.Path.Combine(Path, file);

    /// <summary>Whether there is a tensor of a name.</summary>
    public bool Has(string name) => _tensors.ContainsKey(name);

    /// <summary>A tensor, or null. It counts as used.</summary>
    public SafetensorsTensor? Find(string name)
    {
        if (_tensors.TryGetValue(name, out SafetensorsTensor? tensor)) _taken.Add(name);
        return tensor;
    }

    /// <summary>A tensor. It counts as used.</summary>
    /// <exception cref="ImportException">There is none.</exception>
    public SafetensorsTensor Need(string name, string why) => Find(name) ?? throw Missing(name, why);

    /// <summary>A tensor of a type and shape. It counts as used.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="types">The types that it may have.</param>
    /// <param name="shape">Its shape.</param>
    /// <param name="why">What needs it, for the error.</param>
    /// <exception cref="ImportException">There is none, or it is another.</exception>
    public SafetensorsTensor Need(string name, ReadOnlySpan<SafetensorsType> types, ReadOnlySpan<long> shape, string why)
    {
        SafetensorsTensor tensor = Need(name, why);
        if (types.Contains(tensor.Type) && tensor.Shape.AsSpan().SequenceEqual(shape)) return tensor;
        throw Fault(tensor, $"{string.Join(" or ", types.ToArray().Select(type => type.Name()))} {SafetensorsTensor.Text(shape)} is needed ({why})");
    }

    /// <summary>The error of a tensor that is not there.</summary>
    public ImportException Missing(string name, string why) => new(WeightsFile, $"tensor '{name}' is missing ({why}).");

    /// <summary>The error of a tensor that is another than expected.</summary>
    /// <param name="tensor">The tensor.</param>
    /// <param name="needed">What is needed, without a full stop.</param>
    public static ImportException Fault(SafetensorsTensor tensor, string needed) =>
        new(tensor.FileName, $"tensor '{tensor.Name}' is {tensor.Type.Name()} {tensor.ShapeText}; {needed}.");

    /// <summary>Passes over tensors that a language model's logits do not need.</summary>
    public void Ignore(Func<string, bool> isIgnored)
    {
        foreach (string name in _tensors.Keys)
            if (isIgnored(name)) _taken.Add(name);
    }

    /// <summary>Unmaps the files.</summary>
    public void Dispose()
    {
        foreach (SafetensorsFile file in _files) file.Dispose();
    }

    private SafetensorsFile OpenShard(string name)
    {
        SafetensorsFile file = SafetensorsFile.Open(PathOf(name));
        _files.Add(file);
        foreach (SafetensorsTensor tensor in file.Tensors)
            if (!_tensors.TryAdd(tensor.Name, tensor))
                throw new ImportException(name, $"tensor '{tensor.Name}' is in {_tensors[tensor.Name].FileName}, too.");
        return file;
    }

    private void OpenIndex()
    {
        WeightsFile = IndexFile;
        JsonFields map = JsonFields.Read(PathOf(IndexFile)).Object("weight_map");
        Dictionary<string, SafetensorsFile> shards = new(StringComparer.Ordinal);
        List<(string Tensor, string Shard)> lines = [.. map.All.Select(field => (field.Key, map.Text(field.Key)))];
        foreach (string shard in lines.Select(line => line.Shard).Distinct().Order(StringComparer.Ordinal))
        {
            if (shards.Count == MaxShards) throw new ImportException(IndexFile, $"weight_map names more than {MaxShards} files.");
            // A name with a folder in it could lead anywhere.
            if (shard.Length == 0 || shard is "." or ".." || shard != System.IO.Path.GetFileName(shard) || shard.AsSpan().IndexOfAny('/', '\\', ':') >= 0)
                throw new ImportException(IndexFile, $"weight_map names '{shard}'; a file's name without folders is needed.");
            if (!File.Exists(PathOf(shard))) throw new ImportException(IndexFile, $"weight_map names '{shard}', which is not in the folder.");
            shards.Add(shard, OpenShard(shard));
        }

        foreach ((string tensor, string shard) in lines)
            if (shards[shard].Find(tensor) is null) throw new ImportException(shard, $"tensor '{tensor}' is missing; {IndexFile} says that it is in this file.");
    }

    private ImportException NoWeights()
    {
        bool isPickle = Directory.EnumerateFiles(Path, "*.bin").Any() || Directory.EnumerateFiles(Path, "*.pt").Any();
        return new ImportException(SingleFile, $"the folder has neither this file nor {IndexFile}.{(isPickle ? " It has PyTorch files, which run code when they are read; convert them to safetensors first." : string.Empty)}");
    }
}
