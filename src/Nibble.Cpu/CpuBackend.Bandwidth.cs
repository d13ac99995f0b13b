using Nibble.Cpu.Threading;

namespace Nibble.Cpu;

/// <summary>What <see cref="ReadBandwidth"/> needs of the backend.</summary>
public sealed partial class CpuBackend
{
    /// <summary>Lets the team run a job of no operation.</summary>
    /// <exception cref="InvalidOperationException">Another thread is inside a call.</exception>
    internal void RunAlone(TeamJob job, int parts)
    {
        using Call call = Enter();
        _team.Run(job, parts);
    }
}
