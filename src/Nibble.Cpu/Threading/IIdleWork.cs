namespace Nibble.Cpu.Threading;

/// <summary>What a thread of a <see cref="ThreadTeam"/> may do while it waits for the next job. Nothing may depend on it, for it ends when a job comes.</summary>
internal interface IIdleWork
{
    /// <summary>Does about a microsecond of it.</summary>
    /// <param name="thread">The thread, below <see cref="ThreadTeam.Places"/>.</param>
    /// <param name="step">0 for the first step after a job.</param>
    /// <returns>Whether there is more to do.</returns>
    bool Step(int thread, int step);
}
