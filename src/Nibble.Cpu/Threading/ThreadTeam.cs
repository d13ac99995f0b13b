using System.Diagnostics;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace Nibble.Cpu.Threading;

/// <summary>
/// Threads that wait for jobs: they spin for some microseconds, then give way to others, then sleep. The caller is thread 0 and works along.
/// Starting a job allocates nothing.
/// </summary>
internal sealed class ThreadTeam : IDisposable
{
    // About 20 microseconds: the gap between two operations of a forward pass.
    private const int Spins = 1000;

    // The gap between two tokens, sampling included, is shorter than this.
    private static readonly long s_yieldTicks = Stopwatch.Frequency / 500;

    private readonly Member[] _members;
    private readonly int _spins;
    private Counters _counters;
    private TeamJob? _job;
    private bool _stopping;
    private ExceptionDispatchInfo? _fault;

    /// <summary>Starts the threads.</summary>
    /// <param name="threads">Threads, the caller included.</param>
    public ThreadTeam(int threads)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(threads);
        Threads = threads;
        // With more threads than cores a spinning thread keeps the one that it waits for from running.
        _spins = threads <= Environment.ProcessorCount ? Spins : 0;
        _members = new Member[threads - 1];
        for (int i = 0; i < _members.Length; i++)
            _members[i] = new Member(this, i + 1);
        foreach (Member member in _members)
            member.Thread.Start();
    }

    /// <summary>Threads, the caller included.</summary>
    public int Threads { get; }

    /// <summary>Runs a job on all threads and returns when every one is done. The first exception of any of them is thrown here.</summary>
    /// <param name="job">The job.</param>
    public void Run(TeamJob job)
    {
        if (_members.Length == 0)
        {
            job.Run(null, 0, 1);
            return;
        }

        _job = job;
        _fault = null;
        _counters.Arrived = 0;
        Volatile.Write(ref _counters.Remaining, _members.Length);
        Start();
        Work(job, 0);
        Waiter waiter = new(_spins);
        while (Volatile.Read(ref _counters.Remaining) != 0)
            waiter.Pause();
        _job = null;
        _fault?.Throw();
    }

    /// <summary>Waits until every thread of the running job is here. Each thread must come here equally often.</summary>
    /// <exception cref="TeamFaultException">Another thread failed and will not come.</exception>
    public void Barrier()
    {
        int phase = Volatile.Read(ref _counters.Phase);
        if (Interlocked.Increment(ref _counters.Arrived) == Threads)
        {
            _counters.Arrived = 0;
            Volatile.Write(ref _counters.Phase, phase + 1);
            return;
        }

        Waiter waiter = new(_spins);
        while (Volatile.Read(ref _counters.Phase) == phase)
        {
            if (Volatile.Read(ref _fault) is not null) throw new TeamFaultException();
            waiter.Pause();
        }
    }

    /// <summary>Ends the threads and waits for them.</summary>
    public void Dispose()
    {
        if (_stopping) return;
        Volatile.Write(ref _stopping, true);
        Start();
        foreach (Member member in _members)
        {
            member.Thread.Join();
            member.Wake.Dispose();
        }
    }

    private void Start()
    {
        Interlocked.Increment(ref _counters.Generation);
        foreach (Member member in _members)
            if (Volatile.Read(ref member.Asleep) != 0 && Interlocked.Exchange(ref member.Asleep, 0) != 0) member.Wake.Set();
    }

    private void Work(TeamJob job, int thread)
    {
        try
        {
            job.Run(this, thread, Threads);
        }
        catch (TeamFaultException)
        {
            // The thread that failed keeps the exception that matters.
        }
#pragma warning disable CA1031 // Whatever it is, it is thrown again on the calling thread.
        catch (Exception exception)
#pragma warning restore CA1031
        {
            Interlocked.CompareExchange(ref _fault, ExceptionDispatchInfo.Capture(exception), null);
        }
    }

    private void Serve(Member member)
    {
        int generation = 0;
        while (true)
        {
            WaitForJob(member, generation);
            generation++;
            if (Volatile.Read(ref _stopping)) return;
            Work(_job!, member.Index);
            Interlocked.Decrement(ref _counters.Remaining);
        }
    }

    private void WaitForJob(Member member, int generation)
    {
        Waiter waiter = new(_spins);
        long start = 0;
        while (Volatile.Read(ref _counters.Generation) == generation)
        {
            if (!waiter.Pause()) continue;
            long now = Stopwatch.GetTimestamp();
            if (start == 0) start = now;
            if (now - start < s_yieldTicks) continue;

            // Exchange is a full fence: either this thread sees the new generation, or the starter sees that it sleeps.
            Interlocked.Exchange(ref member.Asleep, 1);
            if (Volatile.Read(ref _counters.Generation) == generation || Interlocked.Exchange(ref member.Asleep, 0) == 0)
                member.Wake.WaitOne();
        }
    }

    // Spins at first and then lets other threads run.
    private struct Waiter(int spins)
    {
        private int _left = spins;

        // True when it gave way.
        public bool Pause()
        {
            if (_left > 0)
            {
                _left--;
                Thread.SpinWait(1);
                return false;
            }

            Thread.Yield();
            return true;
        }
    }

    // Each counter has a cache line pair of its own, since threads spin on one while others write the next.
    [StructLayout(LayoutKind.Explicit, Size = 640)]
    private struct Counters
    {
        [FieldOffset(128)]
        public int Generation;

        [FieldOffset(256)]
        public int Remaining;

        [FieldOffset(384)]
        public int Arrived;

        [FieldOffset(512)]
        public int Phase;
    }

    private sealed class Member
    {
        public int Asleep;

        public Member(ThreadTeam team, int index)
        {
            Index = index;
            Thread = new Thread(() => team.Serve(this)) { IsBackground = true, Name = $"nibble cpu {index}" };
        }

        public int Index { get; }

        public Thread Thread { get; }

        public AutoResetEvent Wake { get; } = new(false);
    }
}

/// <summary>Thrown at a barrier when another thread of the team failed; it never leaves the team.</summary>
internal sealed class TeamFaultException : Exception
{
}
