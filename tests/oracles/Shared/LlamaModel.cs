using System.Runtime.InteropServices;

namespace Oracles;

/// <summary>
/// A model in libllama's hands (<see cref="LlamaApi"/>), in the most exact mode that it has on a CPU: one thread, float32 keys and values, no flash attention, a full
/// cache in sliding layers too.
/// </summary>
internal sealed unsafe class LlamaModel : IDisposable
{
    private readonly nint _model;

    /// <summary>Loads a model. Where libllama finds a fault that it does not expect, it ends the process.</summary>
    /// <param name="path">The GGUF file.</param>
    /// <exception cref="InvalidDataException">libllama refuses it; it has said why on stderr.</exception>
    public LlamaModel(string path)
    {
        LlamaApi.ModelParams options = LlamaApi.DefaultModelParams();
        options.UseExtraBufferTypes = 0;
        _model = LlamaApi.LoadModel(path, options);
        if (_model == 0) throw new InvalidDataException($"libllama refuses {Path.GetFileName(path)}.");
        VocabularySize = LlamaApi.VocabularyTokens(LlamaApi.Vocabulary(_model));
    }

    /// <summary>The build for plain x86-64, which runs everywhere and whose answers do not depend on the machine.</summary>
    public const string PlainBuild = "x64";

    /// <summary>Builds for newer processors that sum in another order than <see cref="PlainBuild"/> and one another.</summary>
    public static IReadOnlyList<string> OtherBuilds { get; } = ["sse42", "haswell"];

    /// <summary>Logits of a position.</summary>
    public int VocabularySize { get; }

    /// <summary>A library that a folder lacks, or null.</summary>
    /// <param name="folder">Where the libraries lie.</param>
    public static string? Missing(string folder) => Array.Find([LlamaApi.LlamaPattern, LlamaApi.GgmlPattern, Backend(PlainBuild)], pattern => Directory.GetFiles(folder, pattern).Length == 0);

    /// <summary>Loads the libraries; called once, first.</summary>
    /// <param name="folder">Where libllama, libggml and libggml-cpu-BUILD.so lie.</param>
    /// <param name="build">The build of the CPU backend.</param>
    /// <exception cref="InvalidDataException">The backend does not load: it is not there, or the processor lacks what it needs.</exception>
    public static void LoadLibraries(string folder, string build = PlainBuild)
    {
        folder = Path.GetFullPath(folder);
        LlamaApi.Load(folder);
        LlamaApi.SetLog(&Log, 0);
        if (LlamaApi.LoadBackend(Path.Combine(folder, Backend(build))) == 0) throw new InvalidDataException($"{Backend(build)} was not loaded.");
    }

    /// <summary>A new context.</summary>
    /// <param name="positions">Its positions: a multiple of 256, for others are rounded up.</param>
    /// <param name="batch">Tokens that are decoded together at most.</param>
    /// <exception cref="InvalidDataException">libllama makes none.</exception>
    public LlamaContext NewContext(int positions, int batch)
    {
        LlamaApi.ContextParams options = LlamaApi.DefaultContextParams();
        options.Context = (uint)positions;
        options.Batch = options.MicroBatch = (uint)batch;
        options.Threads = options.BatchThreads = 1;
        options.FlashAttention = 0;
        options.KeyType = options.ValueType = 0;
        options.FullWindowCache = 1;
        nint context = LlamaApi.NewContext(_model, options);
        return context != 0 ? new LlamaContext(context, VocabularySize) : throw new InvalidDataException("libllama makes no context for the model.");
    }

    /// <inheritdoc/>
    public void Dispose() => LlamaApi.FreeModel(_model);

    private static string Backend(string build) => $"libggml-cpu-{build}.so";

    // ggml_log_callback: warnings (3) and errors (4).
    [UnmanagedCallersOnly]
    private static void Log(int level, byte* text, nint data)
    {
        if (level is 3 or 4) Console.Error.Write(Marshal.PtrToStringUTF8((nint)text));
    }
}

/// <summary>A sequence of tokens in libllama's hands.</summary>
internal sealed unsafe class LlamaContext : IDisposable
{
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
            LlamaApi.Batch batch = new() { Tokens = count, Token = token, Position = positions, SequenceCounts = counts, Sequences = sequences, Wanted = wanted };
            if (LlamaApi.Decode(_context, batch) is not 0 and int code) throw new InvalidDataException($"llama_decode gave {code}.");
        }

        _length += count;
    }

    /// <summary>The logits of a token of the last batch, [vocabulary]; valid until the next one.</summary>
    /// <param name="index">Which token.</param>
    public ReadOnlySpan<float> Logits(int index) => new(LlamaApi.LogitsOf(_context, index), _vocabulary);

    /// <inheritdoc/>
    public void Dispose() => LlamaApi.FreeContext(_context);
}
