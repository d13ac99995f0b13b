using System.Reflection;
using System.Runtime.InteropServices;

namespace Oracles;

/// <summary>A model in libllama's hands: llama.h and ggml-backend.h of llama.cpp v0.5.0, the CPU backend for plain x86-64, one thread, float32 KV cache, no flash attention.</summary>
internal sealed unsafe partial class LlamaModel : IDisposable
{
    private const string Llama = "llama", Ggml = "ggml";

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

    /// <summary>Logits of a position.</summary>
    public int VocabularySize { get; }

    /// <summary>Loads the libraries; called once, first.</summary>
    /// <param name="folder">Where libllama.v0.5.0.so, libggml.v0.5.0.so and libggml-cpu-x64.so lie.</param>
    public static void LoadLibraries(string folder)
    {
        folder = Path.GetFullPath(folder);
        nint ggml = NativeLibrary.Load(Path.Combine(folder, "libggml.v0.5.0.so")), llama = NativeLibrary.Load(Path.Combine(folder, "libllama.v0.5.0.so"));
        NativeLibrary.SetDllImportResolver(Assembly.GetExecutingAssembly(), (name, _, _) => name == Llama ? llama : name == Ggml ? ggml : 0);
        if (LoadBackend(Path.Combine(folder, "libggml-cpu-x64.so")) == 0) throw new InvalidDataException("libggml-cpu-x64.so could not be loaded.");
        SetLog(&Log, 0);
    }

    /// <summary>The logits of every token, [tokens x vocabulary], computed in one batch.</summary>
    /// <param name="ids">Ids.</param>
    /// <param name="context">Positions of the context: a multiple of 256, for others are rounded up.</param>
    public float[] Logits(ReadOnlySpan<int> ids, int context)
    {
        ContextParams options = DefaultContextParams();
        options.Context = (uint)context;
        options.Batch = options.MicroBatch = (uint)ids.Length;
        options.Threads = options.BatchThreads = 1;
        options.FlashAttention = 0;
        options.KeyType = options.ValueType = 0;
        options.FullWindowCache = 1;
        nint session = NewContext(_model, options);
        if (session == 0) throw new InvalidDataException("libllama makes no context for the model.");
        try
        {
            float[] logits = new float[ids.Length * VocabularySize];
            int[] positions = [.. Enumerable.Range(0, ids.Length)], counts = new int[ids.Length], sequence = [0];
            Array.Fill(counts, 1);
            sbyte[] wanted = new sbyte[ids.Length];
            Array.Fill(wanted, (sbyte)1);
            nint[] sequences = new nint[ids.Length];
            fixed (int* token = ids, position = positions, count = counts, zero = sequence)
            fixed (sbyte* want = wanted)
            fixed (nint* each = sequences)
            {
                Array.Fill(sequences, (nint)zero);
                Batch batch = new() { Tokens = ids.Length, Token = token, Position = position, SequenceCounts = count, Sequences = (int**)each, Wanted = want };
                if (Decode(session, batch) is not 0 and int code) throw new InvalidDataException($"llama_decode gave {code}.");
            }

            for (int i = 0; i < ids.Length; i++)
                new ReadOnlySpan<float>(LogitsOf(session, i), VocabularySize).CopyTo(logits.AsSpan(i * VocabularySize));
            return logits;
        }
        finally
        {
            FreeContext(session);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => FreeModel(_model);

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

    [LibraryImport(Llama, EntryPoint = "llama_free")]
    private static partial void FreeContext(nint context);

    [LibraryImport(Llama, EntryPoint = "llama_decode")]
    private static partial int Decode(nint context, Batch batch);

    [LibraryImport(Llama, EntryPoint = "llama_get_logits_ith")]
    private static partial float* LogitsOf(nint context, int index);

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
