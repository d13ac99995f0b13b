using System.Diagnostics;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace Nibble.Cpu.Threading;

/// <summary>
/// Threads that share jobs: the caller is thread 0, and each thread takes the next part until none is left, of a split job first those of its own share
/// (<see cref="TeamJob.IsSplit"/>). Between jobs they spin for some microseconds, then give way to others, then sleep; those beyond the processors only rest and look for parts now and then.
/// Starting a job allocates nothing.
/// </summary>
/// <remarks>
/// A thread that the system has not given a core takes no part, so nobody waits for it: more threads than cores, or a busy machine, cost little.
/// A part is taken by lowering a counter from above zero; everything else about the job is read after that, while the job cannot end.
/// </remarks>
internal sealed class ThreadTeam : IDisposable
{
    // About 20 microseconds: the gap between two operations of a forward pass.
    private const int Spins = 1000;

    // How long a thread beyond the processors rests before it looks for parts again. Were it to spin or give way, it would take time from those that work, and waking it would cost them more.
    private const int NapMilliseconds = 2;

    // 2 ms: the gap between two tokens, sampling included, is shorter.
    private static readonly long s_yieldTicks = Stopwatch.Frequency / 500;

    private readonly Member[] _members;
    private readonly Share[] _shares;
    private Counters _counters;
    private TeamJob? _job;
    private int _parts;
    private bool _isSplit, _stopping;
    private ExceptionDispatchInfo? _fault;

    /// <summary>Starts the threads.</summary>
    /// <param name="threads">Threads, the caller included.</param>
    /// <param name="cores">Cores (<see cref="PhysicalCores.All"/>) to which threads 1 and up are bound, in turn if there are more of them; the first core is left to the caller, which is never bound.</param>
    /// <param name="processors">How many of them run at a time; by default as many as there are processors.</param>
    public ThreadTeam(int threads, IReadOnlyList<int[]>? cores = null, int? processors = null)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(threads);
        Threads = threads;
        Places = Math.Min(threads, processors ?? Environment.ProcessorCount);
        _shares = new Share[Places];
        _members = new Member[threads - 1];
        for (int i = 0; i < _members.Length; i++)
            _members[i] = new Member(this, i + 1, CoreOf(i + 1, cores));
        foreach (Member member in _members)
            member.Thread.Start();
    }

    /// <summary>Threads, the caller included.</summary>
    public int Threads { get; }

    /// <summary>How many of the threads can run at a time: a split job has a share for each.</summary>
    public int Places { get; }

    /// <summary>What threads 1 and up, those beyond the processors excepted, do before they spin, or null. Set before the first job.</summary>
    public IIdleWork? Idle { get; set; }

    /// <summary>Runs all parts of a job and returns when every one is done. The first exception of any of them is thrown here.</summary>
    /// <param name="job">The job.</param>
    /// <param name="parts">Parts.</param>
    public void Run(TeamJob job, int parts)
    {
        if (parts <= 0) return;
        if (_members.Length == 0 || parts == 1)
        {
            for (int part = 0; part < parts; part++)
                job.Run(part, parts, 0);
            return;
        }

        (_job, _parts, _isSplit, _fault) = (job, parts, job.IsSplit, null);
        _counters.Done = 0;
        for (int i = 0; i < (_isSplit ? Places : 1); i++)
            Volatile.Write(ref _shares[i].Left, EndOf(i) - (i == 0 ? 0 : EndOf(i - 1)));

        // A full fence: either a thread that goes to sleep sees the new number, or Wake sees that it sleeps.
        Interlocked.Increment(ref _counters.Jobs);
        Wake();
        RunParts(0);
        Waiter waiter = default;
        while (Volatile.Read(ref _counters.Done) != parts)
            waiter.Pause();
        _job = null;
        _fault?.Throw();
    }

    /// <summary>Ends the threads and waits for them.</summary>
    public void Dispose()
    {
        if (_stopping) return;
        Volatile.Write(ref _stopping, true);
        Interlocked.MemoryBarrier();
        Wake();
        foreach (Member member in _members)
        {
            member.Thread.Join();
            member.Signal.Dispose();
        }
    }

    private static int[]? CoreOf(int thread, IReadOnlyList<int[]>? cores) => cores is { Count: > 1 } ? cores[1 + ((thread - 1) % (cores.Count - 1))] : null;

    // The end of a place's parts.
    private int EndOf(int place) => _isSplit ? TeamJob.Share(_parts, place + 1, Places) : _parts;

    private bool IsIdle(int jobs) => Volatile.Read(ref _counters.Jobs) == jobs && !Volatile.Read(ref _stopping);

    private void Wake()
    {
        foreach (Member member in _members)
            if (Volatile.Read(ref member.Asleep) != 0 && Interlocked.Exchange(ref member.Asleep, 0) != 0) member.Signal.Set();
    }

    // Takes parts and does them until none is left. They are counted together, for all threads write to that counter.
    private void RunParts(int thread)
    {
        int done = 0;
        for (int other = 0; other < Places; other++)
        {
            for (int part; (part = Take((thread + other) % Places)) >= 0; done++)
            {
                try
                {
                    _job!.Run(part, _parts, thread);
                }
#pragma warning disable CA1031 // Whatever it is, it is thrown again on the calling thread.
                catch (Exception exception)
#pragma warning restore CA1031
                {
                    Interlocked.CompareExchange(ref _fault, ExceptionDispatchInfo.Capture(exception), null);
                }
            }
        }

        if (done > 0) Interlocked.Add(ref _counters.Done, done);
    }

    // The next part of a share, or -1.
    private int Take(int share)
    {
        ref int counter = ref _shares[share].Left;
        int left = Volatile.Read(ref counter);
        while (left > 0)
        {
            int seen = Interlocked.CompareExchange(ref counter, left - 1, left);
            if (seen == left) return EndOf(share) - left;
            left = seen;
        }

        return -1;
    }

    private void Serve(Member member)
    {
        while (!Volatile.Read(ref _stopping))
        {
            int jobs = Volatile.Read(ref _counters.Jobs);
            RunParts(member.Index);
            WaitForJob(member, jobs);
        }
    }

    private void WaitForJob(Member member, int jobs)
    {
        bool naps = member.Index >= Places;
        for (int step = 0; Idle is not null && !naps && IsIdle(jobs) && Idle.Step(member.Index, step); step++)
        {
        }

        Waiter waiter = default;
        long start = 0;
        while (IsIdle(jobs))
        {
            if (naps) member.Signal.WaitOne(NapMilliseconds);
            else if (!waiter.Pause()) continue;
            long now = Stopwatch.GetTimestamp();
            if (start == 0) start = now;
            if (now - start < s_yieldTicks) continue;

            Interlocked.Exchange(ref member.Asleep, 1);
            if (IsIdle(jobs) || Interlocked.Exchange(ref member.Asleep, 0) == 0)
            {
                // Asleep in truth, or the signal is on its way: both end here.
                member.Signal.WaitOne();
            }

            return;
        }
    }

    // Spins at first and then lets other threads run.
    private struct Waiter
    {
        private int _spins;

        // True when it gave way.
        public bool Pause()
        {
            if (_spins < Spins)
            {
                _spins++;
                Thread.SpinWait(1);
                return false;
            }

            Thread.Yield();
            return true;
        }
    }

    // Each counter has a pair of cache lines of its own, since some threads spin on one while others write the other.
    [StructLayout(LayoutKind.Explicit, Size = 384)]
    private struct Counters
    {
        [FieldOffset(128)]
        public int Jobs;

        [FieldOffset(256)]
        public int Done;
    }

    // Parts that are left of a thread's own; of a job that is not split, all are the first thread's.
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct Share
    {
        [FieldOffset(128)]
        public int Left;
    }

    private sealed class Member
    {
        public int Asleep;

        public Member(ThreadTeam team, int index, int[]? core)
        {
            Index = index;
            Thread = new Thread(() =>
            {
                // A thread that cannot be bound works all the same.
                if (core is not null) PhysicalCores.Bind(core);
                team.Serve(this);
            })
            { IsBackground = true, Name = $"nibble cpu {index}" };
        }

        public int Index { get; }

        public Thread Thread { get; }

        public AutoResetEvent Signal { get; } = new(false);
    }
}
