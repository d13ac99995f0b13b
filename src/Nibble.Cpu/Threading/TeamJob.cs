namespace Nibble.Cpu.Threading;

/// <summary>Work that all threads of a <see cref="ThreadTeam"/> do together. Reused, so that starting it allocates nothing.</summary>
internal abstract class TeamJob
{
    /// <summary>Does one thread's part.</summary>
    /// <param name="team">The team, for its barrier; null when one thread does everything.</param>
    /// <param name="thread">0 to <paramref name="threads"/> - 1.</param>
    /// <param name="threads">Threads that share the work.</param>
    public abstract void Run(ThreadTeam? team, int thread, int threads);

    /// <summary>The first of a thread's share of n things; the share ends where the next thread's begins.</summary>
    public static int Share(int count, int thread, int threads) => (int)((long)count * thread / threads);
}

/// <summary>Work that falls into independent units, shared out in runs of neighbours.</summary>
internal abstract class UnitJob : TeamJob
{
    /// <summary>How many units there are.</summary>
    public int Units { get; protected set; }

    public sealed override void Run(ThreadTeam? team, int thread, int threads)
    {
        int end = Share(Units, thread + 1, threads);
        for (int unit = Share(Units, thread, threads); unit < end; unit++)
            Unit(unit, thread);
    }

    /// <summary>Does one unit.</summary>
    /// <param name="unit">0 to <see cref="Units"/> - 1.</param>
    /// <param name="thread">The thread, for its scratch memory.</param>
    protected abstract void Unit(int unit, int thread);
}
