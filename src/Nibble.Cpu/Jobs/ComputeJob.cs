using Nibble.Cpu.Packed;
using Nibble.Cpu.Threading;

namespace Nibble.Cpu.Jobs;

/// <summary>Multiplies on registers, see <see cref="ProductLoop{TLanes, TBytes, TVector}"/>: every part as much.</summary>
/// <param name="kernel">Whose instructions are used.</param>
internal sealed class ComputeJob(PackedKernel kernel) : TeamJob
{
    // A fraction of a millisecond with wide vectors, a few with emulated ones.
    private const int Rounds = 20_000;

    private ulong _sink;

    /// <summary>Multiplications with addition in a part.</summary>
    public long PartMacs { get; } = (long)Rounds * kernel.RoundMacs;

    /// <summary>The sum of what all parts gave.</summary>
    public ulong Sink => Volatile.Read(ref _sink);

    /// <inheritdoc/>
    public override void Run(int part, int parts, int thread) => Interlocked.Add(ref _sink, kernel.MultiplyRegisters(Rounds));
}
