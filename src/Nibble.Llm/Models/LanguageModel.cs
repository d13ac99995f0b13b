using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using Nibble.Core.Compute;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Core.Memory;
using Nibble.Llm.Layers;
using Nibble.Llm.Sessions;
using Decoder = Nibble.Llm.Layers.Decoder;

namespace Nibble.Llm.Models;

/// <summary>How far loading has come.</summary>
/// <param name="LoadedBytes">Bytes of tensors taken in.</param>
/// <param name="TotalBytes">Bytes of all tensors.</param>
/// <param name="Tensor">The tensor that was taken in last.</param>
public readonly record struct LoadProgress(long LoadedBytes, long TotalBytes, string Tensor);

/// <summary>How a model is loaded.</summary>
public sealed record ModelOptions
{
    /// <summary>Tokens that are evaluated together at most, while a prompt is read.</summary>
    public int BatchTokens { get; init; } = 512;
}

/// <summary>A model in a backend's memory: immutable weights and the forward pass, shared by its sessions.</summary>
public sealed class LanguageModel : IDisposable
{
    internal const int LogitRowCount = 16;

    private readonly IReadOnlyCollection<Weight> _weights;
    private readonly NativeBuffer _logitRows;
    private ImmutableArray<byte> _fingerprint;

    private LanguageModel(GgufFile file, ModelReader reader, Decoder decoder, Scratch scratch, WeightCacheReport? cache)
    {
        File = file;
        WeightCache = cache;
        _weights = reader.Weights;
        Decoder = decoder;
        Architecture = reader.Architecture;
        ContextLength = reader.ContextLength();
        Scratch = scratch;
        _logitRows = new NativeBuffer(4L * scratch.LogitRows * decoder.Shape.Vocabulary);
    }

    /// <summary>The open file.</summary>
    public GgufFile File { get; }

    /// <summary>The architecture's name.</summary>
    public string Architecture { get; }

    /// <summary>Positions that the model was trained for.</summary>
    public int ContextLength { get; }

    /// <summary>Layers.</summary>
    public int LayerCount => Decoder.Layers.Length;

    /// <summary>Logits of a position.</summary>
    public int VocabularySize => Decoder.Output.Weight.Rows;

    /// <summary>What computes.</summary>
    public Backend Backend => Decoder.Backend;

    /// <summary>Tokens that are evaluated together at most.</summary>
    public int BatchTokens => Scratch.Tokens;

    /// <summary>Bytes of all tensors in the file.</summary>
    public long TensorBytes => File.Tensors.Sum(tensor => tensor.ByteLength);

    /// <summary>Bytes of activations that all sessions share.</summary>
    public long ScratchBytes => Decoder.Shape.Bytes(Scratch.Tokens, Scratch.LogitRows);

    internal Decoder Decoder { get; }

    internal Scratch Scratch { get; }

    /// <summary>Held while a batch runs: sessions take turns.</summary>
    internal Lock Turn { get; } = new();

    /// <summary>What tells this model from others: a SHA-256 over every tensor's name, shape, format and three of its rows, and the descriptions of encoded ones.</summary>
    internal ImmutableArray<byte> Fingerprint
    {
        get
        {
            if (_fingerprint.IsDefault) _fingerprint = ComputeFingerprint();
            return _fingerprint;
        }
    }

    /// <summary>Loads a model.</summary>
    /// <param name="file">The open file; the model owns it from now on, also when this call throws.</param>
    /// <param name="backend">What computes. It outlives the model.</param>
    /// <param name="options">How.</param>
    /// <param name="progress">Told of each tensor.</param>
    /// <exception cref="GgufException">The file cannot be run: an architecture that is not known, a tensor or key that is missing or has a wrong shape or value.</exception>
    /// <exception cref="InsufficientMemoryException">The device has not enough memory.</exception>
    public static LanguageModel Load(GgufFile file, Backend backend, ModelOptions? options = null, IProgress<LoadProgress>? progress = null)
    {
        ArgumentNullException.ThrowIfNull(file);
        ArgumentNullException.ThrowIfNull(backend);
        ModelReader? reader = null;
        Scratch? scratch = null;
        try
        {
            options ??= new ModelOptions();
            if (options.BatchTokens is < 1 or > 1 << 16)
                throw new ArgumentOutOfRangeException(nameof(options), $"a batch of {options.BatchTokens} tokens was asked for; it must be 1 to {1 << 16}.");
            backend.BeginLoad(file);
            long upload = UploadBytesOf(file, backend);
            if (upload > backend.AvailableBytes)
                throw new InsufficientMemoryException($"the weights need {upload:N0} bytes of {backend.Name}'s memory; {backend.AvailableBytes:N0} are free.");
            reader = new ModelReader(file, backend, progress);
            Decoder decoder = Architectures.Build(file, reader);
            reader.Finish();
            WeightCacheReport? cache = backend.EndLoad(isWhole: true);
            long bytes = decoder.Shape.Bytes(options.BatchTokens, LogitRowCount);
            if (bytes > backend.AvailableBytes)
                throw new InsufficientMemoryException(
                    $"activations of {options.BatchTokens} tokens need {bytes:N0} bytes of {backend.Name}'s memory; {backend.AvailableBytes:N0} are free. Use a smaller batch (--batch).");
            scratch = new Scratch(backend, decoder.Shape, options.BatchTokens, LogitRowCount);
            return new LanguageModel(file, reader, decoder, scratch, cache);
        }
        catch
        {
            backend.EndLoad(isWhole: false);
            scratch?.Dispose();
            foreach (Weight weight in reader?.Weights ?? [])
                weight.Dispose();
            file.Dispose();
            throw;
        }
    }

    /// <summary>Bytes of the device's memory that weights take besides the mappings of files (<see cref="WeightCache"/>): packed or uploaded ones, and decoded vectors.</summary>
    public long UploadBytes => UploadBytesOf(File, Backend) - (WeightCache?.MappedBytes ?? 0);

    /// <summary>What became of the file in which the backend keeps weights in its own order; null where it keeps none.</summary>
    public WeightCacheReport? WeightCache { get; }

    /// <summary>A new session.</summary>
    /// <param name="options">How much it can hold, and how.</param>
    /// <exception cref="ArgumentException">The KV format does not suit the model's heads.</exception>
    /// <exception cref="InsufficientMemoryException">The device has not enough memory for its keys and values.</exception>
    public Session NewSession(SessionOptions? options = null) => new(this, options ?? new SessionOptions());

    /// <summary>Bytes that a session's keys and values, and its recurrent states with their copies, take.</summary>
    /// <param name="positions">Positions.</param>
    /// <param name="format">One of <see cref="KvCache.Formats"/>.</param>
    /// <exception cref="ArgumentException">The format does not suit the model's heads.</exception>
    public long KvBytes(int positions, BlockFormat format) => Decoder.Sequence.Bytes(positions, format, BatchTokens);

    /// <summary>Frees weights and closes the file. Sessions are disposed of before.</summary>
    public void Dispose()
    {
        Scratch.Dispose();
        _logitRows.Dispose();
        foreach (Weight weight in _weights)
            weight.Dispose();
        File.Dispose();
    }

    internal Span<float> LogitRows(int rows) => _logitRows.Span<float>(0, rows * VocabularySize);

    internal void CheckMemory(int positions, BlockFormat format)
    {
        long bytes = KvBytes(positions, format);
        if (bytes > Backend.AvailableBytes)
            throw new InsufficientMemoryException(
                $"keys and values of {positions:N0} positions in {format.Name} need {bytes:N0} bytes of {Backend.Name}'s memory; {Backend.AvailableBytes:N0} are free. "
                + "Use a smaller context (--context) or a smaller KV format (--kv q8_0).");
    }

    private ImmutableArray<byte> ComputeFingerprint()
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (GgufTensor tensor in File.Tensors)
        {
            hash.AppendData(Encoding.UTF8.GetBytes($"{tensor.Name}\0{tensor.Format}\0{string.Join('x', tensor.Dimensions)}\0"));
            if (tensor.RowCount == 0) continue;
            foreach (long row in (ReadOnlySpan<long>)[0, tensor.RowCount / 2, tensor.RowCount - 1])
                hash.AppendData(tensor.Row(row));
        }

        foreach (EncodedTensor tensor in File.Weights.Encoded)
            hash.AppendData(Encoding.UTF8.GetBytes($"{tensor.Name}\0{tensor.Encoding.ToText()}\0"));
        return [.. hash.GetHashAndReset()];
    }

    // Tables of embeddings are looked up, and multiplied only where they are the output matrix too.
    private static long UploadBytesOf(GgufFile file, Backend backend)
    {
        bool isTied = file.Weights.Find("output.weight") is null;
        return file.Weights.All.Where(tensor => !tensor.Name.EndsWith("token_embd.weight", StringComparison.Ordinal) || (isTied && tensor.Name == "token_embd.weight")).Sum(backend.UploadBytes);
    }
}
