using System.Reflection;
using System.Runtime.InteropServices;

namespace Oracles;

/// <summary>llama.h and ggml-backend.h of llama.cpp v0.5.0, as far as the oracles and bench/peers call them.</summary>
internal static unsafe partial class LlamaApi
{
    /// <summary>File names of libllama and libggml, which differ between builds.</summary>
    public const string LlamaPattern = "libllama.*so*", GgmlPattern = "libggml.*so*";

    private const string Llama = "llama", Ggml = "ggml";

    /// <summary>Loads the libraries; called once, first. The CPU backend is a library of its own, loaded after them.</summary>
    /// <param name="folder">Where libllama and libggml lie.</param>
    public static void Load(string folder)
    {
        nint Open(string pattern) => NativeLibrary.Load(Directory.GetFiles(folder, pattern).Order(StringComparer.Ordinal).First());
        nint ggml = Open(GgmlPattern), llama = Open(LlamaPattern);
        NativeLibrary.SetDllImportResolver(Assembly.GetExecutingAssembly(), (name, _, _) => name == Llama ? llama : name == Ggml ? ggml : 0);
    }

    [LibraryImport(Ggml, EntryPoint = "ggml_backend_load", StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint LoadBackend(string path);

    [LibraryImport(Ggml, EntryPoint = "ggml_backend_load_all_from_path", StringMarshalling = StringMarshalling.Utf8)]
    public static partial void LoadBestBackends(string folder);

    [LibraryImport(Ggml, EntryPoint = "ggml_backend_reg_by_name", StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint FindBackend(string name);

    [LibraryImport(Ggml, EntryPoint = "ggml_backend_reg_get_proc_address", StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint BackendFunction(nint backend, string name);

    [LibraryImport(Ggml, EntryPoint = "ggml_threadpool_params_init")]
    public static partial void DefaultPool(void* options, int threads);

    [LibraryImport(Llama, EntryPoint = "llama_backend_init")]
    public static partial void Initialize();

    [LibraryImport(Llama, EntryPoint = "llama_log_set")]
    public static partial void SetLog(delegate* unmanaged<int, byte*, nint, void> log, nint data);

    [LibraryImport(Llama, EntryPoint = "llama_print_system_info")]
    public static partial byte* SystemInformation();

    [LibraryImport(Llama, EntryPoint = "llama_model_default_params")]
    public static partial ModelParams DefaultModelParams();

    [LibraryImport(Llama, EntryPoint = "llama_context_default_params")]
    public static partial ContextParams DefaultContextParams();

    [LibraryImport(Llama, EntryPoint = "llama_model_load_from_file", StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint LoadModel(string path, ModelParams options);

    [LibraryImport(Llama, EntryPoint = "llama_model_free")]
    public static partial void FreeModel(nint model);

    [LibraryImport(Llama, EntryPoint = "llama_model_get_vocab")]
    public static partial nint Vocabulary(nint model);

    [LibraryImport(Llama, EntryPoint = "llama_vocab_n_tokens")]
    public static partial int VocabularyTokens(nint vocabulary);

    [LibraryImport(Llama, EntryPoint = "llama_init_from_model")]
    public static partial nint NewContext(nint model, ContextParams options);

    [LibraryImport(Llama, EntryPoint = "llama_free")]
    public static partial void FreeContext(nint context);

    [LibraryImport(Llama, EntryPoint = "llama_attach_threadpool")]
    public static partial void AttachPool(nint context, nint pool, nint batchPool);

    [LibraryImport(Llama, EntryPoint = "llama_get_memory")]
    public static partial nint Memory(nint context);

    [LibraryImport(Llama, EntryPoint = "llama_memory_clear")]
    public static partial void ClearMemory(nint memory, byte data);

    [LibraryImport(Llama, EntryPoint = "llama_memory_seq_rm")]
    public static partial byte RemovePositions(nint memory, int sequence, int from, int to);

    [LibraryImport(Llama, EntryPoint = "llama_batch_get_one")]
    public static partial Batch BatchOf(int* tokens, int count);

    [LibraryImport(Llama, EntryPoint = "llama_decode")]
    public static partial int Decode(nint context, Batch batch);

    [LibraryImport(Llama, EntryPoint = "llama_synchronize")]
    public static partial void Synchronize(nint context);

    [LibraryImport(Llama, EntryPoint = "llama_get_logits_ith")]
    public static partial float* LogitsOf(nint context, int index);

    /// <summary>llama_model_params.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct ModelParams
    {
        public nint Devices, BufferTypeOverrides;
        public int GpuLayers, SplitMode, LoadMode, LazyMode, MainGpu;
        public nint TensorSplit, Progress, ProgressData, KeyOverrides;
        public byte VocabularyOnly, CheckTensors, UseExtraBufferTypes, NoHost, NoAllocation, LoadPredictionLayers;
    }

    /// <summary>llama_context_params.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct ContextParams
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
    public struct Batch
    {
        public int Tokens;
        public int* Token;
        public float* Embeddings;
        public int* Position, SequenceCounts;
        public int** Sequences;
        public sbyte* Wanted;
    }
}
