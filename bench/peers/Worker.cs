using System.Diagnostics;
using System.Text.Json;

namespace Peers;

/// <summary>What a worker is to do.</summary>
/// <param name="Side">Which side it is.</param>
/// <param name="Group">What is measured.</param>
/// <param name="Libraries">llama.cpp's libraries, for their side.</param>
/// <param name="NpmBuild">The build of llama.cpp's CPU backend, or null for the best.</param>
/// <param name="CpuPath">Nibble's instruction path, or null for the best.</param>
internal sealed record WorkerOrder(string Side, Group Group, string? Libraries, string? NpmBuild, string? CpuPath);

/// <summary>A worker's answer to a line: rates of a turn, or what it says of itself, or why it failed.</summary>
internal sealed record WorkerAnswer(double[]? Rates, Loaded? Loaded, string? Error);

/// <summary>The child process of a side that runs in this program: it loads a model, then does what each line on its standard input asks, and answers with a line.</summary>
internal static class Worker
{
    /// <summary>First argument of the child; its order as JSON follows.</summary>
    public const string Verb = "worker";

    /// <summary>Line that asks for a turn: every test of the group once.</summary>
    public const string Turn = "turn";

    /// <summary>Line that asks what the side says of itself.</summary>
    public const string Describe = "describe";

    private const int Seed = 5;

    /// <summary>The body of the child.</summary>
    /// <param name="order">The order.</param>
    /// <returns>The exit code.</returns>
    public static int Run(string order)
    {
        Linux.EndWithParent();
        using Stream output = Console.OpenStandardOutput();
        void Answer(WorkerAnswer answer)
        {
            output.Write(JsonSerializer.SerializeToUtf8Bytes(answer));
            output.Write("\n"u8);
            output.Flush();
        }

        try
        {
            WorkerOrder what = JsonSerializer.Deserialize<WorkerOrder>(order)!;
            (Func<double[]> turn, Func<Loaded> describe) = Open(what);
            Answer(new WorkerAnswer(null, describe(), null));
            while (Console.In.ReadLine() is { } line) Answer(line == Turn ? new WorkerAnswer(turn(), null, null) : new WorkerAnswer(null, describe(), null));
            return 0;
        }
        catch (Exception error)
        {
            // Whatever it is, the parent tells it and goes on with the other sides.
            Answer(new WorkerAnswer(null, null, error is PeerException ? error.Message : $"{error.GetType().Name}: {error.Message}"));
            return 1;
        }
    }

    /// <summary>Ids to read, the same on each side.</summary>
    /// <param name="count">How many.</param>
    /// <param name="vocabulary">Ids that there are.</param>
    public static int[] Ids(int count, int vocabulary)
    {
        Random random = new(Seed);
        return [.. Enumerable.Range(0, count).Select(_ => random.Next(vocabulary))];
    }

    // What it opens lives as long as the process.
    private static (Func<double[]> Turn, Func<Loaded> Describe) Open(WorkerOrder order)
    {
        if (order.Side == SideNames.Bandwidth)
        {
            ReadRate rate = new(order.Group.Threads);
            return (() => [rate.Measure()], () => new Loaded("reads 512 MiB a thread, twice"));
        }

        Engine engine = order.Side == SideNames.Nibble ? new NibbleEngine(order.Group, order.CpuPath) : new LlamaEngine(order.Group, order.Libraries!, order.NpmBuild);
        return (() => [.. order.Group.Tests.Select(test => Measure(engine, order.Group.Depth, test))], engine.Describe);
    }

    // Tokens per second. As in llama-bench, no id is chosen from logits: the next one is known.
    private static double Measure(Engine engine, int depth, Test test)
    {
        int[] ids = Ids(test.Tokens, engine.Vocabulary);
        engine.Seek(depth);
        long start = Stopwatch.GetTimestamp();
        if (test.Kind == TestKind.Prefill) engine.Append(ids);
        else
            for (int i = 0; i < ids.Length; i++) engine.Append(ids.AsSpan(i, 1));
        return test.Tokens / Stopwatch.GetElapsedTime(start).TotalSeconds;
    }
}
