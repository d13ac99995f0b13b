using Nibble.Core.Formats;
using Nibble.Cpu.Packed;
using Nibble.Cpu.Threading;

namespace Nibble.Cpu;

/// <summary>What <see cref="ReadBandwidth"/> and <see cref="ComputePeak"/> need of the backend.</summary>
public sealed partial class CpuBackend
{
    /// <summary>Lets the team run a job of no operation.</summary>
    /// <exception cref="InvalidOperationException">Another thread is inside a call.</exception>
    internal void RunAlone(TeamJob job, int parts)
    {
        using Call call = Enter();
        _team.Run(job, parts);
    }

    /// <summary>The kernel whose instructions multiply weights of a format. Those that are decoded are multiplied in float32, as F16 is, with the vectors of the path.</summary>
    internal BlockKernel PeakKernelOf(BlockFormat format) => PackedKernelOf(format) ?? PackedKernels.Find(PackedKernels.Of(_path.Name), BlockFormats.F16)!;
}
