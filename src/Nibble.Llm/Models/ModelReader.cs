using Nibble.Core.Compute;
using Nibble.Core.Gguf;

namespace Nibble.Llm.Models;

/// <summary>Reads an architecture's keys and tensors, checked against the bounds that any model must keep, and uploads the tensors.</summary>
/// <remarks>Keys: llama.cpp v0.5.0, load_hparams; bounds: the loader limits of the project's design.</remarks>
internal sealed class ModelReader
{
    private const int MaxLayers = 1024;
    private const int MaxContext = 16 << 20;
    private const int MaxWidth = 1 << 20;

    private readonly GgufFile _file;
    private readonly Backend _backend;
    private readonly IProgress<LoadProgress>? _progress;
    private readonly List<Weight> _weights = [];
    private readonly long _totalBytes;
    private long _loadedBytes;

    /// <summary>A reader of an open file.</summary>
    public ModelReader(GgufFile file, Backend backend, IProgress<LoadProgress>? progress)
    {
        _file = file;
        _backend = backend;
        _progress = progress;
        _totalBytes = file.Tensors.Sum(tensor => tensor.ByteLength);
        Architecture = file.Metadata.GetString("general.architecture");
    }

    /// <summary>The architecture's name, the prefix of its keys.</summary>
    public string Architecture { get; }

    /// <summary>What computes.</summary>
    public Backend Backend => _backend;

    /// <summary>Everything that was uploaded so far; freed by whoever owns the model.</summary>
    public IReadOnlyList<Weight> Weights => _weights;

    /// <summary>Whether the file has a tensor.</summary>
    public bool Has(string tensor) => _file.Find(tensor) is not null;

    /// <summary>A fault of the file, at the place of one of the architecture's keys.</summary>
    public GgufException Error(string key, string reason) => _file.Metadata.Error(Key(key), reason);

    /// <summary>Layers.</summary>
    public int LayerCount() => Integer("block_count", 1, MaxLayers);

    /// <summary>Positions that the model was trained for.</summary>
    public int ContextLength() => Integer("context_length", 1, MaxContext);

    /// <summary>A width.</summary>
    public int Width(string key) => Integer(key, 1, MaxWidth);

    /// <summary>A whole number between bounds.</summary>
    public int Integer(string key, int lowest, int highest, int? fallback = null)
    {
        long value = fallback is { } f ? _file.Metadata.GetInt64(Key(key), f) : _file.Metadata.GetInt64(Key(key));
        return InBounds(key, value, lowest, highest);
    }

    /// <summary>A whole number for each layer, from a scalar or an array.</summary>
    public int[] PerLayer(string key, int layers, int lowest, int highest, int[]? fallback = null)
    {
        string name = Key(key);
        if (fallback is not null && !_file.Metadata.Contains(name)) return fallback;
        if (!_file.Metadata.IsArray(name))
        {
            int[] same = new int[layers];
            Array.Fill(same, Integer(key, lowest, highest));
            return same;
        }

        int[] values = _file.Metadata.GetInt32Array(name);
        if (values.Length < layers) throw Error(key, $"{name} has {values.Length} values; the model has {layers} layers.");
        foreach (int value in values.AsSpan(0, layers))
            InBounds(key, value, lowest, highest);
        return values[..layers];
    }

    /// <summary>A finite number.</summary>
    public float Number(string key, float? fallback = null)
    {
        float value = fallback is { } f ? _file.Metadata.GetFloat32(Key(key), f) : _file.Metadata.GetFloat32(Key(key));
        return float.IsFinite(value) ? value : throw Error(key, $"{Key(key)} is {value}; it must be finite.");
    }

    /// <summary>A text.</summary>
    public string Text(string key, string fallback) => _file.Metadata.GetString(Key(key), fallback)!;

    /// <summary>Size of the vocabulary: rows of the embedding, equal to the number of tokens where the file lists them.</summary>
    public int VocabularySize()
    {
        GgufTensor embedding = _file.Find("token_embd.weight") ?? throw Missing("token_embd.weight");
        GgufStringArray? tokens = _file.Metadata.FindStrings("tokenizer.ggml.tokens");
        if (tokens is not null && tokens.Count != embedding.Rows)
            throw _file.Metadata.Error("tokenizer.ggml.tokens", $"the vocabulary has {tokens.Count} tokens and token_embd.weight {embedding.Rows} rows; they must be equal.");
        if (_file.Metadata.FindInt64(Key("vocab_size")) is { } size && size != embedding.Rows)
            throw Error("vocab_size", $"{Key("vocab_size")} is {size}; token_embd.weight has {embedding.Rows} rows, and they must be equal.");
        return embedding.Rows;
    }

    /// <summary>What is added to the mean square in norms.</summary>
    public float NormEpsilon(string key)
    {
        float value = Number(key);
        return value >= 0 ? value : throw Error(key, $"{Key(key)} is {value}; it must be 0 or more.");
    }

    /// <summary>The output matrix: the file's own, or the table of embeddings where the two are tied.</summary>
    public Weight Output(string name, string table, Weight embedding)
    {
        if (Has(name)) return Matrix(name, embedding.Columns, embedding.Rows);
        Expect(table, Operation.MatMul, embedding.Columns, embedding.Rows, 1);
        return embedding;
    }

    /// <summary>Uploads a matrix [columns x rows], with the scale beside it where there is one.</summary>
    public Weight Matrix(string name, int columns, int rows) => Upload(Expect(name, Operation.MatMul, columns, rows, 1), Scales(name, 1));

    /// <summary>Uploads a table whose rows are looked up.</summary>
    public Weight Table(string name, int columns, int rows)
    {
        GgufTensor tensor = Expect(name, Operation.GetRows, columns, rows, 1);
        return Upload(tensor, []);
    }

    /// <summary>Uploads the matrices of the experts of a layer.</summary>
    public Weight Experts(string name, int columns, int rows, int experts) =>
        Upload(Expect(name, Operation.MatMulExperts, columns, rows, experts), Scales(name, experts));

    /// <summary>Uploads a vector.</summary>
    public Weight Vector(string name, int columns) => Upload(Expect(name, Operation.Vector, columns, 1, 1), []);

    /// <summary>Uploads a vector where the file has it.</summary>
    public Weight? OptionalVector(string name, int columns, ReadOnlySpan<float> scale = default) =>
        Has(name) ? Upload(Expect(name, Operation.Vector, columns, 1, 1), scale) : null;

    /// <summary>The scale beside a weight, [count], or empty.</summary>
    public float[] Scales(string weight, int count)
    {
        string name = weight[..^"weight".Length] + "scale";
        return Has(name) ? Floats(name, count) : [];
    }

    /// <summary>Decodes a vector for the host, or nothing where the file has none.</summary>
    public float[] Floats(string name, int count)
    {
        if (!Has(name)) return [];
        GgufTensor tensor = Expect(name, Operation.Vector, count, 1, 1);
        float[] values = new float[count];
        tensor.Format.Decode(tensor.Row(0), values);
        foreach (float value in values)
            if (!float.IsFinite(value)) throw Fault(tensor, $"tensor '{name}' holds {value}; every value must be finite.");
        return values;
    }

    /// <summary>Reports that everything is loaded.</summary>
    public void Finish() => _progress?.Report(new LoadProgress(_totalBytes, _totalBytes, string.Empty));

    private string Key(string key) => $"{Architecture}.{key}";

    private int InBounds(string key, long value, int lowest, int highest) =>
        value >= lowest && value <= highest
            ? (int)value
            : throw Error(key, $"{Key(key)} is {value}; it must be {lowest} to {highest}.");

    private GgufTensor Expect(string name, Operation operation, int columns, int rows, int matrices)
    {
        GgufTensor tensor = _file.Find(name) ?? throw Missing(name);
        if (tensor.Columns != columns || tensor.Rows != rows || tensor.Matrices != matrices)
            throw Fault(tensor, $"tensor '{name}' is [{string.Join(" x ", tensor.Dimensions)}]; {Architecture} needs [{columns} x {rows} x {matrices}].");
        if (!_backend.Supports(operation, tensor.Format))
            throw Fault(tensor, $"tensor '{name}' is {tensor.Format}, which device {_backend.Name} cannot use for {operation}.");
        return tensor;
    }

    private Weight Upload(GgufTensor tensor, ReadOnlySpan<float> scales)
    {
        Weight weight = _backend.Upload(tensor, scales);
        _weights.Add(weight);
        _loadedBytes += tensor.ByteLength;
        _progress?.Report(new LoadProgress(Math.Min(_loadedBytes, _totalBytes), _totalBytes, tensor.Name));
        return weight;
    }

    private GgufException Missing(string name) =>
        new(Path.GetFileName(_file.Path), 0, $"tensor '{name}' is missing; architecture {Architecture} needs it.");

    private GgufException Fault(GgufTensor tensor, string reason) => new(Path.GetFileName(_file.Path), tensor.FileOffset, reason);
}
