using System.Runtime.InteropServices;

namespace ArchitectureSuite;

/// <summary>What is needed of libllama and libggml, llama.h and ggml-backend.h of v0.5.0. The libraries lie in a folder that is given when the program starts.</summary>
internal static unsafe partial class Llama
{
    public const string Library = "llama";
    public const string GgmlLibrary = "ggml";

    /// <summary>GGML_LOG_LEVEL_ERROR.</summary>
    public const int ErrorLevel = 4;

    /// <summary>GGML_TYPE_F32.</summary>
    public const int F32 = 0;

    /// <summary>LLAMA_FLASH_ATTN_TYPE_DISABLED.</summary>
    public const int FlashAttentionDisabled = 0;

    /// <summary>llama_model_params. The defaults are passed on unread: 8 pointers and 5 enums, then 6 flags.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct ModelParams
    {
        public fixed long Words[10];
    }

    /// <summary>llama_context_params.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct ContextParams
    {
        public uint Context;
        public uint Batch;
        public uint MicroBatch;
        public uint Sequences;
        public uint Snapshots;
        public uint Outputs;
        public uint OutputsPerSequence;
        public int Threads;
        public int BatchThreads;
        public int ContextType;
        public int RopeScaling;
        public int Pooling;
        public int Attention;
        public int FlashAttention;
        public float RopeBase;
        public float RopeScale;
        public float YarnExtFactor;
        public float YarnAttnFactor;
        public float YarnBetaFast;
        public float YarnBetaSlow;
        public uint YarnOriginalContext;
        public float DefragThreshold;
        public nint EvalCallback;
        public nint EvalCallbackData;
        public int TypeK;
        public int TypeV;
        public nint AbortCallback;
        public nint AbortCallbackData;
        public byte Embeddings;
        public byte OffloadKqv;
        public byte NoPerf;
        public byte OpOffload;
        public byte SwaFull;
        public byte KvUnified;
        public nint Samplers;
        public nuint SamplerCount;
        public nint OtherContext;
    }

    /// <summary>llama_batch.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Batch
    {
        public int Count;
        public int* Tokens;
        public float* Embeddings;
        public int* Positions;
        public int* SequenceCounts;
        public int** Sequences;
        public byte* WantsLogits;
    }

    [LibraryImport(GgmlLibrary, EntryPoint = "ggml_backend_load", StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint LoadBackend(string path);

    [LibraryImport(Library, EntryPoint = "llama_log_set")]
    public static partial void SetLog(delegate* unmanaged<int, byte*, nint, void> log, nint data);

    [LibraryImport(Library, EntryPoint = "llama_backend_init")]
    public static partial void Start();

    [LibraryImport(Library, EntryPoint = "llama_model_default_params")]
    public static partial ModelParams DefaultModelParams();

    [LibraryImport(Library, EntryPoint = "llama_context_default_params")]
    public static partial ContextParams DefaultContextParams();

    [LibraryImport(Library, EntryPoint = "llama_model_load_from_file", StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint LoadModel(string path, ModelParams model);

    [LibraryImport(Library, EntryPoint = "llama_init_from_model")]
    public static partial nint NewContext(nint model, ContextParams context);

    [LibraryImport(Library, EntryPoint = "llama_free")]
    public static partial void FreeContext(nint context);

    [LibraryImport(Library, EntryPoint = "llama_model_free")]
    public static partial void FreeModel(nint model);

    [LibraryImport(Library, EntryPoint = "llama_model_get_vocab")]
    public static partial nint Vocabulary(nint model);

    [LibraryImport(Library, EntryPoint = "llama_vocab_n_tokens")]
    public static partial int VocabularySize(nint vocabulary);

    [LibraryImport(Library, EntryPoint = "llama_decode")]
    public static partial int Decode(nint context, Batch batch);

    [LibraryImport(Library, EntryPoint = "llama_get_logits_ith")]
    public static partial float* Logits(nint context, int index);
}
