namespace Nibble.Cpu.Threading;

/// <summary>Work that the threads of a <see cref="ThreadTeam"/> share, cut into parts. Reused, so that starting it allocates nothing.</summary>
internal abstract class TeamJob
{
    /// <summary>Whether each thread takes its own run of neighbouring parts first, the same in each job with as many parts, and then helps others; threads beyond the processors share the runs of those before them. Otherwise threads take parts in turn.</summary>
    public virtual bool IsSplit => false;

    /// <summary>Does one part. What it gives must not depend on how many parts there are or on who does them.</summary>
    /// <param name="part">0 to <paramref name="parts"/> - 1.</param>
    /// <param name="parts">Parts.</param>
    /// <param name="thread">The thread that does it, for scratch memory.</param>
    public abstract void Run(int part, int parts, int thread);

    /// <summary>The first of a part's share of n things; the share ends where the next part's begins.</summary>
    public static int Share(int count, int part, int parts) => (int)((long)count * part / parts);
}

/// <summary>Work that falls into independent units; a part is a run of neighbours.</summary>
internal abstract class UnitJob : TeamJob
{
    /// <summary>How many units there are.</summary>
    public int Units { get; protected set; }

    public sealed override void Run(int part, int parts, int thread)
    {
        int end = Share(Units, part + 1, parts);
        for (int unit = Share(Units, part, parts); unit < end; unit++)
            Unit(unit, thread);
    }

    /// <summary>Does one unit.</summary>
    /// <param name="unit">0 to <see cref="Units"/> - 1.</param>
    /// <param name="thread">The thread, for its scratch memory.</param>
    protected abstract void Unit(int unit, int thread);
}
