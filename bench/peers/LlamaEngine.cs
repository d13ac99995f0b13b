using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Oracles;

namespace Peers;

/// <summary>llama.cpp in this process, set up as its llama-bench does it: a thread pool with poll 50, extra buffer types (repacking, AMX), flash attention as it chooses.</summary>
internal sealed unsafe class LlamaEngine : Engine
{
    private static readonly (string Name, int Id)[] KvTypes = [("f32", 0), ("f16", 1), ("q4_0", 2), ("q4_1", 3), ("q5_0", 6), ("q5_1", 7), ("q8_0", 8), ("bf16", 30)];

    private static readonly StringBuilder s_log = new();

    private readonly nint _model, _context, _memory;
    private readonly Loading _loading;
    private readonly string _build;
    private int _length;

    /// <summary>Loads libraries and model.</summary>
    /// <param name="group">What is measured.</param>
    /// <param name="folder">Where the libraries lie.</param>
    /// <param name="build">The build of the CPU backend, such as <c>icelake</c>; null for the one that ggml itself scores best.</param>
    public LlamaEngine(Group group, string folder, string? build)
    {
        int kv = Array.Find(KvTypes, type => type.Name == group.Kv) is { Name: not null } known ? known.Id : throw new PeerException($"llama.cpp keeps no keys and values in '{group.Kv}'.");
        LlamaApi.Load(folder);
        LlamaApi.SetLog(&Log, 0);
        if (build is null) LlamaApi.LoadBestBackends(folder);
        else if (LlamaApi.LoadBackend(Path.Combine(folder, $"libggml-cpu-{build}.so")) == 0) throw new PeerException($"libggml-cpu-{build}.so was not loaded: it is not in '{folder}', or the processor lacks what it needs.");
        _build = File.ReadLines("/proc/self/maps").Select(line => Path.GetFileName(line.Split(' ')[^1])).FirstOrDefault(name => name.StartsWith("libggml-cpu-", StringComparison.Ordinal))
            ?? throw new PeerException($"ggml found no CPU backend in '{folder}' that runs here.");
        LlamaApi.Initialize();

        (_model, _loading) = Loading.Watch(() => LlamaApi.LoadModel(group.Model, LlamaApi.DefaultModelParams()));
        if (_model == 0) throw new PeerException($"libllama refuses {Path.GetFileName(group.Model)}: {Complaint()}");
        Vocabulary = LlamaApi.VocabularyTokens(LlamaApi.Vocabulary(_model));

        LlamaApi.ContextParams options = LlamaApi.DefaultContextParams();
        options.Context = (uint)group.Positions;
        options.Batch = 2048;
        options.MicroBatch = 512;
        options.Threads = options.BatchThreads = group.Threads;
        options.KeyType = options.ValueType = kv;
        options.FullWindowCache = 0;
        _context = LlamaApi.NewContext(_model, options);
        if (_context == 0) throw new PeerException($"libllama makes no context for {Path.GetFileName(group.Model)}: {Complaint()}");
        _memory = LlamaApi.Memory(_context);
        nint pool = NewPool(group.Threads);
        LlamaApi.AttachPool(_context, pool, 0);
    }

    /// <inheritdoc/>
    public override int Vocabulary { get; }

    /// <inheritdoc/>
    public override Loaded Describe() => new($"{_build}; {string.Join("; ", LogFacts.Of(s_log.ToString()))}", _loading.Seconds, _loading.PeakBytes, Machine.AnonymousBytes());

    /// <inheritdoc/>
    public override void Seek(int depth)
    {
        if (_length > depth)
        {
            // A recurrent state cannot go back.
            bool isCut = depth > 0 && LlamaApi.RemovePositions(_memory, 0, depth, -1) != 0;
            if (!isCut) LlamaApi.ClearMemory(_memory, 0);
            _length = isCut ? depth : 0;
        }

        if (_length < depth) Append(Worker.Ids(depth - _length, Vocabulary));
    }

    /// <inheritdoc/>
    public override void Append(ReadOnlySpan<int> ids)
    {
        for (; ids.Length > 0; ids = ids[Math.Min(2048, ids.Length)..])
        {
            int count = Math.Min(2048, ids.Length);
            fixed (int* first = ids)
                if (LlamaApi.Decode(_context, LlamaApi.BatchOf(first, count)) is not 0 and int code)
                    throw new PeerException(string.Create(CultureInfo.InvariantCulture, $"llama_decode gave {code} for {count} tokens at position {_length}: {Complaint()}"));
            _length += count;
        }

        LlamaApi.Synchronize(_context);
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        LlamaApi.FreeContext(_context);
        LlamaApi.FreeModel(_model);
    }

    // ggml_threadpool_new is the CPU backend's own function. ggml_threadpool_params is 524 bytes: 512 flags of processors, then four numbers and flags.
    private static nint NewPool(int threads)
    {
        nint create = LlamaApi.BackendFunction(LlamaApi.FindBackend("CPU"), "ggml_threadpool_new");
        if (create == 0) throw new PeerException("libggml's CPU backend has no ggml_threadpool_new; the libraries must be of v0.5.0 (fetch).");
        byte* options = stackalloc byte[1024];
        LlamaApi.DefaultPool(options, threads);
        nint pool = ((delegate* unmanaged<void*, nint>)create)(options);
        return pool != 0 ? pool : throw new PeerException("ggml_threadpool_new gave nothing.");
    }

    private static string Complaint() => s_log.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries).LastOrDefault() ?? "it said nothing.";

    // ggml_log_callback.
    [UnmanagedCallersOnly]
    private static void Log(int level, byte* text, nint data)
    {
        lock (s_log) s_log.Append(Marshal.PtrToStringUTF8((nint)text));
    }
}
