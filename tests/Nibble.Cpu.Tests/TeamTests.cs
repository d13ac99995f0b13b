using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Cpu.Threading;

namespace Nibble.Cpu.Tests;

/// <summary>The thread team, and the backend's rule of one thread at a time.</summary>
public class TeamTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(9)]
    public void Ten_thousand_jobs_do_every_part_once(int threads)
    {
        using ThreadTeam team = new(threads);
        CountJob job = new(17);
        for (int run = 1; run <= 10_000; run++)
        {
            int parts = 1 + (run % 17);
            Array.Clear(job.Counts);
            team.Run(job, parts);
            for (int part = 0; part < 17; part++)
                if (job.Counts[part] != (part < parts ? 1 : 0)) Assert.Fail($"run {run}: part {part} of {parts} was done {job.Counts[part]} times");
        }
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 2)]
    [InlineData(5, 5)]
    [InlineData(5, 2)]
    [InlineData(3, 1)]
    public void Split_jobs_too_do_every_part_once(int threads, int processors)
    {
        using ThreadTeam team = new(threads, processors: processors);
        Assert.Equal(processors, team.Places);
        CountJob split = new(17) { Split = true }, whole = new(17);
        for (int run = 1; run <= 10_000; run++)
        {
            int parts = 1 + (run % 17);
            CountJob job = run % 3 == 0 ? whole : split;
            Array.Clear(job.Counts);
            team.Run(job, parts);
            for (int part = 0; part < 17; part++)
                if (job.Counts[part] != (part < parts ? 1 : 0)) Assert.Fail($"run {run}: part {part} of {parts} was done {job.Counts[part]} times");
        }
    }

    [Fact]
    public void A_thread_begins_a_split_job_with_its_own_parts_and_then_helps()
    {
        // First parts wait until all three threads are in, so nobody can have helped yet.
        using ThreadTeam team = new(3, processors: 3);
        for (int run = 0; run < 20; run++)
        {
            using CountdownEvent all = new(3);
            int[] firsts = [-1, -1, -1];
            int done = 0;
            team.Run(
                new ActionJob((part, thread) =>
                {
                    Interlocked.Increment(ref done);
                    if (firsts[thread] >= 0) return;
                    firsts[thread] = part;
                    all.Signal();
                    all.Wait(TestContext.Current.CancellationToken);
                })
                { Split = true }, 12);
            Assert.Equal([0, 4, 8], firsts);
            Assert.Equal(12, done);
        }

        // The second thread's parts cannot begin before all others are done, so others cannot leave them to it: whoever is free takes over the rest of its share.
        using CountdownEvent rest = new(8);
        team.Run(
            new ActionJob((part, _) =>
            {
                if (part == 4) rest.Wait(TestContext.Current.CancellationToken);
                else if (rest.CurrentCount > 0) rest.Signal();
            })
            { Split = true }, 12);
        Assert.True(rest.IsSet);
    }

    [Fact]
    public void Waiting_threads_do_idle_work_until_it_ends_or_a_job_comes()
    {
        CountIdle idle = new();
        using ThreadTeam team = new(2, processors: 2) { Idle = idle };
        CountJob job = new(2);
        for (int run = 0; run < 200; run++)
            team.Run(job, 2);
        Assert.Equal(400, job.Counts.Sum());
        SpinWait.SpinUntil(() => idle.Steps >= CountIdle.Most, TimeSpan.FromSeconds(30));
        Assert.True(idle.Steps >= CountIdle.Most, $"{idle.Steps} steps");
        Assert.False(idle.CallerTookPart);
    }

    [Fact]
    public void Threads_beyond_the_processors_do_no_idle_work()
    {
        CountIdle idle = new();
        using ThreadTeam team = new(3, processors: 1) { Idle = idle };
        CountJob job = new(6);
        for (int run = 0; run < 200; run++)
            team.Run(job, 6);
        Thread.Sleep(20);
        Assert.Equal(1200, job.Counts.Sum());
        Assert.Equal(0, idle.Steps);
    }

    [Theory]
    [InlineData(3)]
    [InlineData(1)]
    public void Threads_work_at_the_same_time(int processors)
    {
        // Each part waits until all three are in, so one thread alone could never finish.
        using ThreadTeam team = new(3, processors: processors);
        for (int run = 0; run < 20; run++)
        {
            using CountdownEvent all = new(3);
            HashSet<int> seen = [];
            team.Run(
                new ActionJob((_, thread) =>
                {
                    lock (seen) seen.Add(thread);
                    all.Signal();
                    all.Wait(TestContext.Current.CancellationToken);
                }), 3);
            Assert.Equal([0, 1, 2], seen.Order());
            if (run % 5 == 0) Thread.Sleep(20); // Long enough for the threads to fall asleep.
        }
    }

    [Fact]
    public void Threads_are_bound_to_the_cores_that_they_are_given()
    {
        if (!OperatingSystem.IsLinux()) Assert.Skip("what a thread is bound to is read from /proc");
        int[] last = PhysicalCores.All()[^1];
        using ThreadTeam team = new(3, [[], last]);
        using CountdownEvent all = new(3);
        string[] allowed = new string[3];
        team.Run(
            new ActionJob((_, thread) =>
            {
                allowed[thread] = File.ReadLines("/proc/thread-self/status").First(line => line.StartsWith("Cpus_allowed_list:", StringComparison.Ordinal)).Split(':')[1].Trim();
                all.Signal();
                all.Wait(TestContext.Current.CancellationToken);
            }), 3);
        Assert.Equal(last, Processors(allowed[1]));
        Assert.Equal(last, Processors(allowed[2]));
        Assert.Equal(PhysicalCores.All().SelectMany(core => core).Order(), Processors(allowed[0]));
    }

    [Fact]
    public void Cores_are_the_allowed_processors_by_their_siblings()
    {
        using TempFolder folder = new();
        foreach ((int cpu, string siblings) in new[] { (0, "0,4"), (1, "1,5"), (4, "0,4"), (5, "1,5") })
        {
            string topology = Directory.CreateDirectory(Path.Combine(folder.Root, $"cpu{cpu}", "topology")).FullName;
            File.WriteAllText(Path.Combine(topology, "thread_siblings_list"), siblings + "\n");
        }

        Assert.Equal([[0, 4], [1, 5]], PhysicalCores.Linux(folder.Root, [0, 1, 4, 5]));
        Assert.Equal([[1], [4]], PhysicalCores.Linux(folder.Root, [1, 4]));
        Assert.Empty(PhysicalCores.Linux(folder.Root, [0, 2]));
        Assert.InRange(PhysicalCores.Count(), 1, Environment.ProcessorCount);
    }

    [Fact]
    public void An_exception_of_any_thread_is_thrown_on_the_caller_and_the_team_lives_on()
    {
        using ThreadTeam team = new(3);
        CountJob good = new(8);
        for (int run = 0; run < 50; run++)
        {
            int bad = run % 8;
            InvalidTimeZoneException thrown = Assert.Throws<InvalidTimeZoneException>(
                () => team.Run(new ActionJob((part, _) => { if (part == bad) throw new InvalidTimeZoneException($"part {part}"); }), 8));
            Assert.Equal($"part {bad}", thrown.Message);
            Array.Clear(good.Counts);
            team.Run(good, 8);
            Assert.All(good.Counts, count => Assert.Equal(1, count));
        }
    }

    [Fact]
    public void Teams_end_their_threads_when_disposed_busy_or_asleep()
    {
        for (int run = 0; run < 100; run++)
        {
            ThreadTeam team = new(4);
            if (run % 2 == 0) team.Run(new CountJob(8), 8);
            if (run % 20 == 0) Thread.Sleep(15);
            team.Dispose();
            team.Dispose();
        }
    }

    [Fact]
    public void A_second_thread_inside_a_call_gets_an_error()
    {
        using CpuBackend backend = new(new CpuOptions { Threads = 2 });
        using BlockingSource slow = new();
        Weight weight = backend.Upload(slow);
        slow.Block = true;
        Tensor x = backend.Allocate(ElementType.Float32, 1, 32), y = backend.Allocate(ElementType.Float32, 1, 2);
        Thread first = new(() => backend.MatMul(x, weight, y));
        first.Start();
        slow.Inside.Wait(TestContext.Current.CancellationToken);
        InvalidOperationException error = Assert.Throws<InvalidOperationException>(() => backend.Scale(x, 1, x));
        Assert.Contains("one thread at a time", error.Message, StringComparison.Ordinal);
        Assert.Throws<InvalidOperationException>(backend.Dispose);
        slow.Go.Set();
        first.Join();
        backend.Scale(x, 1, x);
    }

    [Fact]
    public void A_disposed_backend_says_so()
    {
        CpuBackend backend = new(new CpuOptions { Threads = 2 });
        Tensor x = backend.Allocate(ElementType.Float32, 1, 32);
        backend.Dispose();
        backend.Dispose();
        Assert.Throws<ObjectDisposedException>(() => backend.Scale(x, 1, x));
    }

    [Fact]
    public void Many_more_threads_than_cores_finish()
    {
        using CpuBackend backend = new(new CpuOptions { Threads = 4 * Environment.ProcessorCount });
        using TestWeights source = new(BlockFormats.Q4_0, 576, 576, 1);
        using Weight weight = backend.Upload(source);
        Tensor x = Values.Tensor(backend, 4, 576, 0, Values.Random(new Random(1), 4 * 576)), y = Values.Tensor(backend, 4, 576);
        for (int i = 0; i < 200; i++)
            backend.MatMul(x, weight, y);
        Assert.Equal(4 * Environment.ProcessorCount, backend.Threads);
    }

    private sealed class CountJob(int parts) : TeamJob
    {
        public int[] Counts { get; } = new int[parts];

        public bool Split { get; init; }

        public override bool IsSplit => Split;

        public override void Run(int part, int parts, int thread) => Interlocked.Increment(ref Counts[part]);
    }

    private sealed class CountIdle : IIdleWork
    {
        public const int Most = 50;

        private int _steps;

        public int Steps => Volatile.Read(ref _steps);

        public bool CallerTookPart { get; private set; }

        public bool Step(int thread, int step)
        {
            if (thread == 0) CallerTookPart = true;
            Interlocked.Increment(ref _steps);
            return step < Most;
        }
    }

    private sealed class ActionJob(Action<int, int> action) : TeamJob
    {
        public bool Split { get; init; }

        public override bool IsSplit => Split;

        public override void Run(int part, int parts, int thread) => action(part, thread);
    }

    // Weights whose rows cannot be had until Go is set.
    // "0-2,5".
    private static int[] Processors(string list) =>
    [
        .. list.Split(',').SelectMany(range =>
        {
            string[] ends = range.Split('-');
            return Enumerable.Range(int.Parse(ends[0]), int.Parse(ends[^1]) - int.Parse(ends[0]) + 1);
        }),
    ];

    private sealed class BlockingSource : IWeightSource, IDisposable
    {
        private readonly TestWeights _weights = new(BlockFormats.F32, 2, 32, 1);

        public bool Block { get; set; }

        public ManualResetEventSlim Inside { get; } = new();

        public ManualResetEventSlim Go { get; } = new();

        public string Name => "slow";

        public BlockFormat Format => _weights.Format;

        public int Columns => 32;

        public int Rows => 2;

        public int Matrices => 1;

        public ReadOnlySpan<byte> Row(long row)
        {
            if (Block)
            {
                Inside.Set();
                Go.Wait();
            }

            return _weights.Row(row);
        }

        public void Dispose()
        {
            _weights.Dispose();
            Inside.Dispose();
            Go.Dispose();
        }
    }
}
