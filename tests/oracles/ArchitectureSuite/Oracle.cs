using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;

namespace ArchitectureSuite;

/// <summary>llama.cpp's answers about one model.</summary>
/// <param name="Logits">[ids x vocabulary].</param>
/// <param name="Greedy">The ids that greedy decoding appends to the first <see cref="Prompt.GreedyPrompt"/>.</param>
internal sealed record Answers(float[] Logits, int[] Greedy);

/// <summary>
/// Asks libllama, in the most exact mode that it has on a CPU: plain x64 kernels, one thread, float32 keys and values, no flash attention, a full cache in sliding layers too.
/// Each model is asked in a process of its own, since libllama ends the process where an assertion of its fails.
/// </summary>
internal static class Oracle
{
    /// <summary>First argument of the process that asks; the model, the stem of the answers and the folder of the libraries follow.</summary>
    public const string Verb = "oracle";

    private const string LlamaPattern = "libllama.*so*";
    private const string GgmlPattern = "libggml.*so*";
    private const string BackendName = "libggml-cpu-x64.so";
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    /// <summary>The answers from the cache, made first if they are not there or older than the model.</summary>
    /// <param name="model">The model's path.</param>
    /// <param name="cache">Folder of the answers.</param>
    /// <param name="libraries">Folder of the libraries.</param>
    /// <exception cref="OracleException">libllama gave no answer.</exception>
    public static Answers Ask(string model, string cache, string libraries)
    {
        string stem = Path.Combine(cache, Path.GetFileNameWithoutExtension(model));
        if (!IsFresh(LogitsPath(stem), model) || !IsFresh(GreedyPath(stem), model)) RunChild(model, stem, libraries);
        return new Answers(MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(LogitsPath(stem))).ToArray(), Prompt.Parse(File.ReadAllText(GreedyPath(stem))));
    }

    /// <summary>A library that a folder lacks, or null.</summary>
    public static string? Missing(string libraries) => Array.Find([LlamaPattern, GgmlPattern, BackendName], pattern => Directory.GetFiles(libraries, pattern).Length == 0);

    /// <summary>Computes the answers; the body of the child process.</summary>
    /// <returns>The exit code; the last line of standard error is the reason where it is not 0.</returns>
    public static unsafe int Answer(string model, string stem, string libraries)
    {
        nint llama = NativeLibrary.Load(Find(libraries, LlamaPattern)), ggml = NativeLibrary.Load(Find(libraries, GgmlPattern));
        NativeLibrary.SetDllImportResolver(Assembly.GetExecutingAssembly(), (name, _, _) => name == Llama.Library ? llama : name == Llama.GgmlLibrary ? ggml : 0);
        Llama.SetLog(&PrintErrors, 0);
        Llama.Start();
        if (Llama.LoadBackend(Path.Combine(libraries, BackendName)) == 0) return Fail($"{BackendName} was not loaded");
        nint loaded = Llama.LoadModel(model, Llama.DefaultModelParams());
        if (loaded == 0) return Fail("the model was not loaded");
        int vocabulary = Llama.VocabularySize(Llama.Vocabulary(loaded));

        nint context = NewContext(loaded);
        if (context == 0) return Fail("no context");
        if (!Decode(context, Prompt.Ids, 0)) return Fail("llama_decode failed");
        Save(LogitsPath(stem), file =>
        {
            for (int position = 0; position < Prompt.Ids.Length; position++) file.Write(MemoryMarshal.AsBytes(Row(context, position, vocabulary)));
        });
        Llama.FreeContext(context);

        context = NewContext(loaded);
        if (!Decode(context, Prompt.GreedyIds, 0)) return Fail("llama_decode failed");
        List<int> greedy = [Prompt.Best(Row(context, Prompt.GreedyPrompt - 1, vocabulary))];
        while (greedy.Count < Prompt.GreedyCount)
        {
            if (!Decode(context, [greedy[^1]], Prompt.GreedyPrompt + greedy.Count - 1)) return Fail("llama_decode failed");
            greedy.Add(Prompt.Best(Row(context, 0, vocabulary)));
        }

        Save(GreedyPath(stem), file => file.Write(System.Text.Encoding.ASCII.GetBytes(string.Join(',', greedy) + '\n')));
        Llama.FreeContext(context);
        Llama.FreeModel(loaded);
        return 0;
    }

    private static void RunChild(string model, string stem, string libraries)
    {
        // `dotnet run` starts the program itself, `dotnet ArchitectureSuite.dll` starts dotnet.
        string program = Environment.ProcessPath!;
        bool isHost = Path.GetFileNameWithoutExtension(program) == "dotnet";
        ProcessStartInfo start = new(program, [.. isHost ? [Assembly.GetExecutingAssembly().Location] : (string[])[], Verb, model, stem, libraries]) { RedirectStandardError = true };
        using Process child = Process.Start(start)!;
        Task<string> errors = child.StandardError.ReadToEndAsync();
        bool ended = child.WaitForExit(Patience);
        if (!ended) child.Kill(entireProcessTree: true);
        string reason = errors.Result.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).LastOrDefault() ?? "it said nothing";
        if (!ended) throw new OracleException($"no answer in {Patience.TotalMinutes} minutes: {reason}");
        if (child.ExitCode != 0) throw new OracleException($"exit code {child.ExitCode.ToString(CultureInfo.InvariantCulture)}: {reason}");
    }

    private static string Find(string folder, string pattern) => Directory.GetFiles(folder, pattern).Order(StringComparer.Ordinal).First();

    private static nint NewContext(nint model)
    {
        Llama.ContextParams parameters = Llama.DefaultContextParams();
        parameters.Context = Prompt.Context;
        parameters.Batch = parameters.MicroBatch = 512;
        parameters.Threads = parameters.BatchThreads = 1;
        parameters.TypeK = parameters.TypeV = Llama.F32;
        parameters.FlashAttention = Llama.FlashAttentionDisabled;
        parameters.SwaFull = 1;
        return Llama.NewContext(model, parameters);
    }

    private static unsafe bool Decode(nint context, ReadOnlySpan<int> ids, int first)
    {
        int count = ids.Length, sequence = 0;
        int* positions = stackalloc int[count], counts = stackalloc int[count];
        int** sequences = stackalloc int*[count];
        byte* wants = stackalloc byte[count];
        for (int i = 0; i < count; i++)
        {
            positions[i] = first + i;
            counts[i] = wants[i] = 1;
            sequences[i] = &sequence;
        }

        fixed (int* tokens = ids)
            return Llama.Decode(context, new() { Count = count, Tokens = tokens, Positions = positions, SequenceCounts = counts, Sequences = sequences, WantsLogits = wants }) == 0;
    }

    private static unsafe ReadOnlySpan<float> Row(nint context, int index, int vocabulary) => new(Llama.Logits(context, index), vocabulary);

    // Under its own name only when it is whole: a run that was ended half-way leaves no answer.
    private static void Save(string path, Action<FileStream> write)
    {
        using (FileStream file = File.Create(path + ".part")) write(file);
        File.Move(path + ".part", path, overwrite: true);
    }

    private static string LogitsPath(string stem) => stem + ".logits.f32";

    private static string GreedyPath(string stem) => stem + ".greedy";

    private static bool IsFresh(string answer, string model) => File.Exists(answer) && File.GetLastWriteTimeUtc(answer) >= File.GetLastWriteTimeUtc(model);

    private static int Fail(string reason)
    {
        Console.Error.WriteLine(reason);
        return 1;
    }

    [UnmanagedCallersOnly]
    private static unsafe void PrintErrors(int level, byte* text, nint data)
    {
        if (level == Llama.ErrorLevel) Console.Error.Write(Marshal.PtrToStringUTF8((nint)text));
    }
}

/// <summary>llama.cpp gave no answer about a model.</summary>
internal sealed class OracleException(string message) : Exception(message);
