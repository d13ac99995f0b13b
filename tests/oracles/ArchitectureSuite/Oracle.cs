using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using Oracles;

namespace ArchitectureSuite;

/// <summary>llama.cpp's answers about one model.</summary>
/// <param name="Logits">[ids x vocabulary].</param>
/// <param name="Greedy">The ids that greedy decoding appends to the first <see cref="Prompt.GreedyPrompt"/>.</param>
internal sealed record Answers(float[] Logits, int[] Greedy);

/// <summary>Asks libllama (<see cref="LlamaModel"/>), each model in a process of its own, since libllama ends the process where an assertion of its fails.</summary>
internal static class Oracle
{
    /// <summary>First argument of the process that asks; the model, the stem of the answers, the folder of the libraries and the build follow.</summary>
    public const string Verb = "oracle";

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    /// <summary>The answers from the cache, made first if they are not there or older than the model.</summary>
    /// <param name="model">The model's path.</param>
    /// <param name="cache">Folder of the answers.</param>
    /// <param name="libraries">Folder of the libraries.</param>
    /// <param name="build">The build of llama.cpp's CPU backend.</param>
    /// <exception cref="OracleException">libllama gave no answer.</exception>
    public static Answers Ask(string model, string cache, string libraries, string build)
    {
        string folder = build == LlamaModel.PlainBuild ? cache : Path.Combine(cache, build);
        Directory.CreateDirectory(folder);
        string stem = Path.Combine(folder, Path.GetFileNameWithoutExtension(model));
        if (!IsFresh(LogitsPath(stem), model) || !IsFresh(GreedyPath(stem), model)) RunChild(model, stem, libraries, build);
        return new Answers(MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(LogitsPath(stem))).ToArray(), Prompt.Parse(File.ReadAllText(GreedyPath(stem))));
    }

    /// <summary>Computes the answers; the body of the child process.</summary>
    /// <returns>The exit code; the last line of standard error is the reason where it is not 0.</returns>
    public static int Answer(string model, string stem, string libraries, string build)
    {
        try
        {
            LlamaModel.LoadLibraries(libraries, build);
            using LlamaModel loaded = new(model);
            using (LlamaContext context = loaded.NewContext(Prompt.Context, Prompt.Batch))
            {
                context.Decode(Prompt.Ids);
                Save(LogitsPath(stem), file =>
                {
                    for (int position = 0; position < Prompt.Ids.Length; position++) file.Write(MemoryMarshal.AsBytes(context.Logits(position)));
                });
            }

            using (LlamaContext context = loaded.NewContext(Prompt.Context, Prompt.Batch))
            {
                context.Decode(Prompt.GreedyIds);
                List<int> greedy = [Prompt.Best(context.Logits(Prompt.GreedyPrompt - 1))];
                while (greedy.Count < Prompt.GreedyCount)
                {
                    context.Decode([greedy[^1]]);
                    greedy.Add(Prompt.Best(context.Logits(0)));
                }

                Save(GreedyPath(stem), file => file.Write(System.Text.Encoding.ASCII.GetBytes(string.Join(',', greedy) + '\n')));
            }

            return 0;
        }
        catch (InvalidDataException error)
        {
            Console.Error.WriteLine(error.Message);
            return 1;
        }
    }

    private static void RunChild(string model, string stem, string libraries, string build)
    {
        // `dotnet run` starts the program itself, `dotnet ArchitectureSuite.dll` starts dotnet.
        string program = Environment.ProcessPath!;
        bool isHost = Path.GetFileNameWithoutExtension(program) == "dotnet";
        ProcessStartInfo start = new(program, [.. isHost ? [Assembly.GetExecutingAssembly().Location] : (string[])[], Verb, model, stem, libraries, build]) { RedirectStandardError = true };
        using Process child = Process.Start(start)!;
        Task<string> errors = child.StandardError.ReadToEndAsync();
        bool ended = child.WaitForExit(Patience);
        if (!ended) child.Kill(entireProcessTree: true);
        string reason = errors.Result.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).LastOrDefault() ?? "it said nothing";
        if (!ended) throw new OracleException($"no answer in {Patience.TotalMinutes} minutes: {reason}");
        if (child.ExitCode != 0) throw new OracleException($"exit code {child.ExitCode.ToString(CultureInfo.InvariantCulture)}: {reason}");
    }

    // Under its own name only when it is whole: a run that was ended half-way leaves no answer.
    private static void Save(string path, Action<FileStream> write)
    {
        using (FileStream file = File.Create(path + ".part")) write(file);
        File.Move(path + ".part", path, overwrite: true);
    }

    private static string LogitsPath(string stem) => stem + ".logits.f32";

    private static string GreedyPath(string stem) => stem + ".greedy";

    private static bool IsFresh(string answer, string model) => File.Exists(answer) && File.GetLastWriteTimeUtc(answer) >= File.GetLastWriteTimeUtc(model);
}

/// <summary>llama.cpp gave no answer about a model.</summary>
internal sealed class OracleException(string message) : Exception(message);
