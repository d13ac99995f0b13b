using Nibble.Core.Encodings;
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
    internal BlockKernel PeakKernelOf(BlockFormat format) => PackedKernelOf(Alike(format)) ?? PackedKernels.Find(PackedKernels.Of(_path.Name), BlockFormats.F16)!;

    // A block format with the kind of codes that an encoding has.
    private static BlockFormat Alike(BlockFormat format) => format switch
    {
        EncodedFormat { Use: CodeUse.Float } => BlockFormats.F16,
        EncodedFormat encoded => encoded.Use == CodeUse.Table || encoded.BlockBytes == encoded.BlockValues ? BlockFormats.Q8_0 : BlockFormats.Q4_0,
        _ => format,
    };
}
