using Nibble.Core.Compute;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;

namespace Nibble.Llm.Models;

/// <summary>Reads an architecture's keys and tensors, checked against the bounds that any model must keep, and uploads the tensors.</summary>
/// <remarks>Keys: llama.cpp v0.5.0, load_hparams; bounds: the loader limits of the project's design.</remarks>
internal class ModelReader
{
    private const int MaxLayers = 1024;
    private const int MaxContext = 16 << 20;
    private const int MaxWidth = 1 << 20;

    private readonly GgufFile _file;
    private readonly Backend _backend;
    private readonly IProgress<LoadProgress>? _progress;
    private readonly Dictionary<string, Weight> _weights = [];
    private readonly HashSet<string> _taken = [];
    private readonly long _totalBytes;
    private long _loadedBytes;

    /// <summary>A reader of an open file.</summary>
    public ModelReader(GgufFile file, Backend backend, IProgress<LoadProgress>? progress)
    {
        _file = file;
        _backend = backend;
        _progress = progress;
        _totalBytes = file.Weights.All.Sum(weight => weight.ByteLength);
        Architecture = file.Metadata.GetString("general.architecture");
    }

    /// <summary>The architecture's name, the prefix of its keys.</summary>
    public string Architecture { get; }

    /// <summary>What computes.</summary>
    public Backend Backend => _backend;

    /// <summary>Everything that was uploaded so far; freed by whoever owns the model.</summary>
    public IReadOnlyCollection<Weight> Weights => _weights.Values;

    /// <summary>Bytes of the matrices, as they are in the file, that a token alone is multiplied with; of experts those of the ones that it chooses.</summary>
    public long TokenWeightBytes { get; private set; }

    /// <summary>Whether the file has a tensor.</summary>
    public virtual bool Has(string tensor) => _file.Weights.Find(tensor) is not null;

    /// <summary>Rows of a tensor, or 0 where the file does not have it.</summary>
    public virtual int Rows(string tensor) => _file.Weights.Find(tensor)?.Rows ?? 0;

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

    /// <summary>A flag for each layer from an array of flags or of numbers, or null where the key is absent or holds one value.</summary>
    public bool[]? FindPerLayerFlags(string key, int layers)
    {
        string name = Key(key);
        if (!_file.Metadata.IsArray(name)) return null;
        bool[] flags = _file.Metadata.TryGetValue(name, out GgufValue value) && value.ElementType == GgufValueType.Boolean
            ? _file.Metadata.GetBooleanArray(name)
            : [.. _file.Metadata.GetInt32Array(name).Select(number => number != 0)];
        if (flags.Length < layers) throw Error(key, $"{name} has {flags.Length} values; the model has {layers} layers.");
        return flags[..layers];
    }

    /// <summary>A number for each layer, from a scalar or an array.</summary>
    public float[] NumberPerLayer(string key, int layers, float fallback)
    {
        string name = Key(key);
        if (!_file.Metadata.IsArray(name))
        {
            float[] same = new float[layers];
            Array.Fill(same, Number(key, fallback));
            return same;
        }

        float[] values = _file.Metadata.GetFloat32Array(name);
        if (values.Length < layers) throw Error(key, $"{name} has {values.Length} values; the model has {layers} layers.");
        foreach (float value in values)
            if (!float.IsFinite(value)) throw Error(key, $"{name} holds {value}; it must be finite.");
        return values[..layers];
    }

    /// <summary>Whether the file has a key.</summary>
    public bool HasKey(string key) => _file.Metadata.Contains(Key(key));

    /// <summary>A flag.</summary>
    public bool Flag(string key, bool? fallback = null) => fallback is { } f ? _file.Metadata.GetBoolean(Key(key), f) : _file.Metadata.GetBoolean(Key(key));

    /// <summary>Whole numbers of an array, or null where the key is absent.</summary>
    public int[]? FindIntegers(string key) => _file.Metadata.FindInt32Array(Key(key));

    /// <summary>A positive number.</summary>
    public float Positive(string key, float? fallback = null)
    {
        float value = Number(key, fallback);
        return value > 0 ? value : throw Error(key, $"{Key(key)} is {value}; it must be positive.");
    }

    /// <summary>What scores are multiplied by, or null where the file leaves it to the head size.</summary>
    public float? AttentionScale()
    {
        float scale = Number("attention.scale", 0);
        return scale == 0 ? null : scale;
    }

    /// <summary>A factor: 1 where the key is absent or 0.</summary>
    public float Factor(string key)
    {
        float factor = Number(key, 0);
        return factor == 0 ? 1 : factor;
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
    public virtual int VocabularySize()
    {
        IWeightSource embedding = _file.Weights.Find("token_embd.weight") ?? throw Missing("token_embd.weight");
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
    public Weight Output(string name, Weight embedding) => Has(name) ? Output(name, embedding.Columns, embedding.Rows) : Tied(embedding);

    /// <summary>The table of embeddings as the output matrix.</summary>
    public Weight Tied(Weight embedding)
    {
        if (!_backend.Supports(Operation.MatMul, embedding.Format))
            throw new GgufException(Path.GetFileName(_file.Path), 0, $"tensor '{embedding.Name}' is {embedding.Format}, which device {_backend.Name} cannot use for {Operation.MatMul}.");
        TokenWeightBytes += embedding.ByteLength;
        _backend.Prepare(embedding);
        return embedding;
    }

    /// <summary>Uploads an output matrix. llama.cpp v0.5.0 knows a scale beside it only where it is NVFP4.</summary>
    public Weight Output(string name, int columns, int rows)
    {
        IWeightSource source = Take(name, Operation.MatMul, columns, rows, 1);
        TokenWeightBytes += source.ByteLength;
        return Upload(source, source.Format == BlockFormats.NVFP4 ? Scales(source, 1, true) : [], isMultiplied: true);
    }

    /// <summary>Uploads a matrix [columns x rows], with the scale beside it where there is one and it counts.</summary>
    /// <param name="name">Name.</param>
    /// <param name="columns">Inputs.</param>
    /// <param name="rows">Outputs.</param>
    /// <param name="isScaled">Whether a scale counts or is passed over (<see cref="Scales"/>); null where the architecture knows none.</param>
    public Weight Matrix(string name, int columns, int rows, bool? isScaled = true)
    {
        IWeightSource source = Take(name, Operation.MatMul, columns, rows, 1);
        TokenWeightBytes += source.ByteLength;
        return Upload(source, isScaled is { } used ? Scales(source, 1, used) : [], isMultiplied: true);
    }

    /// <summary>Uploads a table whose rows are looked up.</summary>
    public Weight Table(string name, int columns, int rows) => Upload(Take(name, Operation.GetRows, columns, rows, 1), []);

    /// <summary>Uploads the matrices of the experts of a layer, with the scales beside them where there are some and they count.</summary>
    /// <param name="name">Name.</param>
    /// <param name="columns">Inputs.</param>
    /// <param name="rows">Outputs of one.</param>
    /// <param name="experts">Experts.</param>
    /// <param name="used">Those that a token is multiplied with.</param>
    /// <param name="isScaled">Whether scales count or are passed over; null where the architecture knows none.</param>
    public Weight Experts(string name, int columns, int rows, int experts, int used, bool? isScaled = true)
    {
        IWeightSource source = Take(name, Operation.MatMulExperts, columns, rows, experts);
        TokenWeightBytes += source.ByteLength / experts * used;
        return Upload(source, isScaled is { } counts ? Scales(source, experts, counts) : [], isMultiplied: true);
    }

    /// <summary>Uploads a vector.</summary>
    public Weight Vector(string name, int columns) => Upload(Take(name, Operation.Vector, columns, 1, 1), []);

    /// <summary>Uploads several vectors, a row each.</summary>
    public Weight Vectors(string name, int columns, int rows) => Upload(Take(name, Operation.Vector, columns, rows, 1), []);

    /// <summary>Uploads the kernels of a convolution from a tensor [taps x 1 x channels], a row a channel.</summary>
    public Weight Kernels(string name, int taps, int channels) => Upload(new FlatRows(Take(name, Operation.Vector, taps, 1, channels)), []);

    /// <summary>Uploads a vector as the architecture wants it.</summary>
    public Weight? Vector(string name, int columns, Presence presence, ReadOnlySpan<float> scale = default) =>
        presence == Presence.Absent || (presence == Presence.Optional && !Has(name)) ? null : Upload(Take(name, Operation.Vector, columns, 1, 1), scale);

    /// <summary>Passes over tensors that the model does not need to give logits.</summary>
    /// <param name="prefix">What their names begin with.</param>
    public void Ignore(string prefix)
    {
        foreach (IWeightSource tensor in _file.Weights.All)
            if (tensor.Name.StartsWith(prefix, StringComparison.Ordinal)) _taken.Add(tensor.Name);
    }

    /// <summary>Finds a weight that was not uploaded yet, to look at its format and scales.</summary>
    public IWeightSource Find(string name, int columns, int rows) => Take(name, Operation.MatMul, columns, rows, 1);

    /// <summary>The scale beside a weight, [count], or empty.</summary>
    /// <param name="weight">The weight.</param>
    /// <param name="count">Its matrices.</param>
    /// <param name="isUsed">Whether it counts for any format. llama.cpp v0.5.0 passes over those of some networks; NVFP4, which cannot do without, is scaled always.</param>
    public float[] Scales(IWeightSource weight, int count, bool isUsed)
    {
        string name = weight.Name[..^"weight".Length] + "scale";
        if (!Has(name)) return [];
        if (isUsed || weight.Format == BlockFormats.NVFP4) return Floats(name, count);
        _taken.Add(name);
        return [];
    }

    /// <summary>Decodes a vector for the host, or nothing where the file has none.</summary>
    public float[] Floats(string name, int count)
    {
        if (!Has(name)) return [];
        return Decode(Take(name, Operation.Vector, count, 1, 1), count);
    }

    /// <summary>Checks that every tensor was taken, for a model without one of its tensors would run wrongly, and reports that everything is loaded.</summary>
    /// <exception cref="GgufException">A tensor was not.</exception>
    public void Finish()
    {
        if (UnusedTensors().FirstOrDefault() is { } tensor) throw Fault(tensor, Unused(tensor));
        _progress?.Report(new LoadProgress(_totalBytes, _totalBytes, string.Empty));
    }

    /// <summary>The tensors that nothing took or passed over so far.</summary>
    public IEnumerable<IWeightSource> UnusedTensors() =>
        // Scales of activations serve runtimes that compute in NVFP4; weights do not need them.
        _file.Weights.All.Where(tensor => !_taken.Contains(tensor.Name) && !tensor.Name.EndsWith(".input_scale", StringComparison.Ordinal));

    /// <summary>What is wrong with a tensor that nothing took.</summary>
    public string Unused(IWeightSource tensor) =>
        $"tensor '{tensor.Name}' is not part of architecture {Architecture} as Nibble knows it; the model would run wrongly without it.";

    /// <summary>Finds a tensor of a shape that the backend can use so.</summary>
    /// <exception cref="GgufException">It is missing, has another shape, or a format that the backend cannot use.</exception>
    protected virtual IWeightSource Take(string name, Operation operation, int columns, int rows, int matrices)
    {
        IWeightSource tensor = _file.Weights.Find(name) ?? throw Missing(name);
        bool fits = tensor.Columns == columns && tensor.Rows == rows && tensor.Matrices == matrices;
        if (!fits)
            throw Fault(tensor, $"tensor '{name}' is [{string.Join(" x ", tensor.Dimensions)}]; {Architecture} needs [{columns} x {rows} x {matrices}].");
        if (!_backend.Supports(operation, tensor.Format))
            throw Fault(tensor, $"tensor '{name}' is {tensor.Format}, which device {_backend.Name} cannot use for {operation}; --device cpu runs all formats.");
        _taken.Add(name);
        return tensor;
    }

    /// <summary>Decodes a vector for the host.</summary>
    protected virtual float[] Decode(IWeightSource source, int count)
    {
        float[] values = new float[count];
        source.CopyRow(0, values);
        foreach (float value in values)
            if (!float.IsFinite(value))
                throw new GgufException(Path.GetFileName(_file.Path), 0, $"tensor '{source.Name}' holds {value}; every value must be finite.");
        return values;
    }

    /// <summary>The file's name of one of the architecture's keys.</summary>
    /// <param name="key">The part after the architecture's name.</param>
    protected virtual string Key(string key) => $"{Architecture}.{key}";

    private int InBounds(string key, long value, int lowest, int highest) =>
        value >= lowest && value <= highest
            ? (int)value
            : throw Error(key, $"{Key(key)} is {value}; it must be {lowest} to {highest}.");

    private Weight Upload(IWeightSource tensor, ReadOnlySpan<float> scales, bool isMultiplied = false)
    {
        // Layers that run several times share their weights.
        if (_weights.TryGetValue(tensor.Name, out Weight? known)) return known;
        Weight weight = _backend.Upload(tensor, scales);
        _weights.Add(tensor.Name, weight);
        if (isMultiplied) _backend.Prepare(weight);
        _loadedBytes += tensor.ByteLength;
        _progress?.Report(new LoadProgress(Math.Min(_loadedBytes, _totalBytes), _totalBytes, tensor.Name));
        return weight;
    }

    private GgufException Missing(string name) =>
        new(Path.GetFileName(_file.Path), 0, $"tensor '{name}' is missing; architecture {Architecture} needs it.");

    private GgufException Fault(IWeightSource tensor, string reason) => new(Path.GetFileName(_file.Path), FileWeights.FileOffset(tensor), reason);
}
