using System.Reflection;
using System.Runtime.InteropServices;

namespace Oracles;

/// <summary>
/// A model in libllama's hands: llama.h and ggml-backend.h of llama.cpp v0.5.0, in the most exact mode that it has on a CPU: one thread, float32 keys and values, no flash attention, a full
/// cache in sliding layers too.
/// </summary>
internal sealed unsafe partial class LlamaModel : IDisposable
{
    private const string Llama = "llama", Ggml = "ggml";
    private const string LlamaPattern = "libllama.*so*", GgmlPattern = "libggml.*so*";

    private readonly nint _model;

    /// <summary>Loads a model. Where libllama finds a fault that it does not expect, it ends the process.</summary>
    /// <param name="path">The GGUF file.</param>
    /// <exception cref="InvalidDataException">libllama refuses it; it has said why on stderr.</exception>
    public LlamaModel(string path)
    {
        ModelParams options = DefaultModelParams();
        options.UseExtraBufferTypes = 0;
        _model = LoadModel(path, options);
        if (_model == 0) throw new InvalidDataException($"libllama refuses {Path.GetFileName(path)}.");
        VocabularySize = VocabularyTokens(Vocabulary(_model));
    }

    /// <summary>The build for plain x86-64, which runs everywhere and whose answers do not depend on the machine.</summary>
    public const string PlainBuild = "x64";

    /// <summary>Builds for newer processors that sum in another order than <see cref="PlainBuild"/> and one another.</summary>
    public static IReadOnlyList<string> OtherBuilds { get; } = ["sse42", "haswell"];

    /// <summary>Logits of a position.</summary>
    public int VocabularySize { get; }

    /// <summary>A library that a folder lacks, or null.</summary>
    /// <param name="folder">Where the libraries lie.</param>
    public static string? Missing(string folder) => Array.Find([LlamaPattern, GgmlPattern, Backend(PlainBuild)], pattern => Directory.GetFiles(folder, pattern).Length == 0);

    /// <summary>Loads the libraries; called once, first.</summary>
    /// <param name="folder">Where libllama, libggml and libggml-cpu-BUILD.so lie.</param>
    /// <param name="build">The build of the CPU backend.</param>
    /// <exception cref="InvalidDataException">The backend does not load: it is not there, or the processor lacks what it needs.</exception>
    public static void LoadLibraries(string folder, string build = PlainBuild)
    {
        folder = Path.GetFullPath(folder);
        nint Load(string pattern) => NativeLibrary.Load(Directory.GetFiles(folder, pattern).Order(StringComparer.Ordinal).First());
        nint ggml = Load(GgmlPattern), llama = Load(LlamaPattern);
        NativeLibrary.SetDllImportResolver(Assembly.GetExecutingAssembly(), (name, _, _) => name == Llama ? llama : name == Ggml ? ggml : 0);
        SetLog(&Log, 0);
        if (LoadBackend(Path.Combine(folder, Backend(build))) == 0) throw new InvalidDataException($"{Backend(build)} was not loaded.");
    }

    /// <summary>A new context.</summary>
    /// <param name="positions">Its positions: a multiple of 256, for others are rounded up.</param>
    /// <param name="batch">Tokens that are decoded together at most.</param>
    /// <exception cref="InvalidDataException">libllama makes none.</exception>
    public LlamaContext NewContext(int positions, int batch)
    {
        ContextParams options = DefaultContextParams();
        options.Context = (uint)positions;
        options.Batch = options.MicroBatch = (uint)batch;
        options.Threads = options.BatchThreads = 1;
        options.FlashAttention = 0;
        options.KeyType = options.ValueType = 0;
        options.FullWindowCache = 1;
        nint context = NewContext(_model, options);
        return context != 0 ? new LlamaContext(context, VocabularySize) : throw new InvalidDataException("libllama makes no context for the model.");
    }

    /// <inheritdoc/>
    public void Dispose() => FreeModel(_model);

    private static string Backend(string build) => $"libggml-cpu-{build}.so";

    // ggml_log_callback: warnings (3) and errors (4).
    [UnmanagedCallersOnly]
    private static void Log(int level, byte* text, nint data)
    {
        if (level is 3 or 4) Console.Error.Write(Marshal.PtrToStringUTF8((nint)text));
    }

    [LibraryImport(Ggml, EntryPoint = "ggml_backend_load", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint LoadBackend(string path);

    [LibraryImport(Llama, EntryPoint = "llama_log_set")]
    private static partial void SetLog(delegate* unmanaged<int, byte*, nint, void> log, nint data);

    [LibraryImport(Llama, EntryPoint = "llama_model_default_params")]
    private static partial ModelParams DefaultModelParams();

    [LibraryImport(Llama, EntryPoint = "llama_context_default_params")]
    private static partial ContextParams DefaultContextParams();

    [LibraryImport(Llama, EntryPoint = "llama_model_load_from_file", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint LoadModel(string path, ModelParams options);

    [LibraryImport(Llama, EntryPoint = "llama_model_free")]
    private static partial void FreeModel(nint model);

    [LibraryImport(Llama, EntryPoint = "llama_model_get_vocab")]
    private static partial nint Vocabulary(nint model);

    [LibraryImport(Llama, EntryPoint = "llama_vocab_n_tokens")]
    private static partial int VocabularyTokens(nint vocabulary);

    [LibraryImport(Llama, EntryPoint = "llama_init_from_model")]
    private static partial nint NewContext(nint model, ContextParams options);

    /// <summary>llama_model_params.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct ModelParams
    {
        public nint Devices, BufferTypeOverrides;
        public int GpuLayers, SplitMode, LoadMode, LazyMode, MainGpu;
        public nint TensorSplit, Progress, ProgressData, KeyOverrides;
        public byte VocabularyOnly, CheckTensors, UseExtraBufferTypes, NoHost, NoAllocation, LoadPredictionLayers;
    }

    /// <summary>llama_context_params.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct ContextParams
    {
        public uint Context, Batch, MicroBatch, Sequences, Snapshots, Outputs, OutputsPerSequence;
        public int Threads, BatchThreads, ContextType, RopeScaling, Pooling, Attention, FlashAttention;
        public float RopeBase, RopeScale, YarnMix, YarnMagnitude, YarnBetaFast, YarnBetaSlow;
        public uint YarnOriginalContext;
        public float Defragmentation;
        public nint Evaluated, EvaluatedData;
        public int KeyType, ValueType;
        public nint Abort, AbortData;
        public byte Embeddings, OffloadKv, NoTimings, OffloadOperations, FullWindowCache, UnifiedKv;
        public nint Samplers;
        public nuint SamplerCount;
        public nint Other;
    }
}

/// <summary>A sequence of tokens in libllama's hands.</summary>
internal sealed unsafe partial class LlamaContext : IDisposable
{
    private const string Llama = "llama";

    private readonly nint _context;
    private readonly int _vocabulary;
    private int _length;

    internal LlamaContext(nint context, int vocabulary)
    {
        _context = context;
        _vocabulary = vocabulary;
    }

    /// <summary>Appends tokens in one batch.</summary>
    /// <param name="ids">Ids.</param>
    /// <exception cref="InvalidDataException">libllama does not decode them.</exception>
    public void Decode(ReadOnlySpan<int> ids)
    {
        int count = ids.Length, sequence = 0;
        int* positions = stackalloc int[count], counts = stackalloc int[count];
        int** sequences = stackalloc int*[count];
        sbyte* wanted = stackalloc sbyte[count];
        for (int i = 0; i < count; i++)
        {
            positions[i] = _length + i;
            counts[i] = wanted[i] = 1;
            sequences[i] = &sequence;
        }

        fixed (int* token = ids)
        {
            Batch batch = new() { Tokens = count, Token = token, Position = positions, SequenceCounts = counts, Sequences = sequences, Wanted = wanted };
            if (Decode(_context, batch) is not 0 and int code) throw new InvalidDataException($"llama_decode gave {code}.");
        }

        _length += count;
    }

    /// <summary>The logits of a token of the last batch, [vocabulary]; valid until the next one.</summary>
    /// <param name="index">Which token.</param>
    public ReadOnlySpan<float> Logits(int index) => new(LogitsOf(_context, index), _vocabulary);

    /// <inheritdoc/>
    public void Dispose() => FreeContext(_context);

    [LibraryImport(Llama, EntryPoint = "llama_free")]
    private static partial void FreeContext(nint context);

    [LibraryImport(Llama, EntryPoint = "llama_decode")]
    private static partial int Decode(nint context, Batch batch);

    [LibraryImport(Llama, EntryPoint = "llama_get_logits_ith")]
    private static partial float* LogitsOf(nint context, int index);

    /// <summary>llama_batch.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Batch
    {
        public int Tokens;
        public int* Token;
        public float* Embeddings;
        public int* Position, SequenceCounts;
        public int** Sequences;
        public sbyte* Wanted;
    }
}
