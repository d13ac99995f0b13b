using System.ComponentModel;
using System.Diagnostics;
using System.Reflection;
using System.Text.Json;

namespace Peers;

/// <summary>A side that lives in one child process through all rounds, stopped by a signal while others have their turn.</summary>
/// <param name="order">What it is to do.</param>
/// <param name="warmUpSeconds">It takes turns that do not count for this long: the JIT compiles what is hot in the background, and turns that count must not share the cores with it.</param>
internal sealed class WorkerSide(WorkerOrder order, double warmUpSeconds) : Side
{
    private const int WarmUpTurns = 2;

    private ChildProcess? _child;

    /// <inheritdoc/>
    public override string Name => order.Side;

    /// <inheritdoc/>
    public override void Start()
    {
        // `dotnet run` starts the program itself, `dotnet peers.dll` starts dotnet.
        string program = Environment.ProcessPath!;
        string[] host = Path.GetFileNameWithoutExtension(program) == "dotnet" ? [Assembly.GetExecutingAssembly().Location] : [];
        _child = new ChildProcess(program, [.. host, Worker.Verb, JsonSerializer.Serialize(order)]);
        Read(_child);
        long start = Stopwatch.GetTimestamp();
        for (int turn = 0; turn < WarmUpTurns || Stopwatch.GetElapsedTime(start).TotalSeconds < warmUpSeconds; turn++) Ask(_child, Worker.Turn);
        Linux.Suspend(_child.Id);
    }

    /// <inheritdoc/>
    public override double?[] Turn() => [.. Awake(Worker.Turn).Rates!.Cast<double?>()];

    /// <inheritdoc/>
    public override Loaded Describe() => Awake(Worker.Describe).Loaded!;

    /// <inheritdoc/>
    public override void Dispose() => _child?.Dispose();

    private static WorkerAnswer Ask(ChildProcess child, string line)
    {
        child.Write(line);
        return Read(child);
    }

    private static WorkerAnswer Read(ChildProcess child)
    {
        WorkerAnswer answer = JsonSerializer.Deserialize<WorkerAnswer>(child.ReadLine())!;
        return answer.Error is null ? answer : throw new PeerException(answer.Error);
    }

    private WorkerAnswer Awake(string line)
    {
        try
        {
            Linux.Resume(_child!.Id);
            WorkerAnswer answer = Ask(_child, line);
            Linux.Suspend(_child.Id);
            return answer;
        }
        catch (Exception error) when (error is IOException or Win32Exception)
        {
            throw new PeerException($"the process has ended: {error.Message} {_child!.Errors}");
        }
    }
}
