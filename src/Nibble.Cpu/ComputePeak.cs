using System.Diagnostics;
using Nibble.Core.Formats;
using Nibble.Cpu.Jobs;
using Nibble.Cpu.Packed;

namespace Nibble.Cpu;

/// <summary>How fast the threads of a <see cref="CpuBackend"/> multiply on registers, with the instructions of a format's kernel: the bound of products with many tokens.</summary>
/// <remarks>A multiplication is counted with the addition that goes with it: of 8-bit codes the instructions that sum pairs or fours of products, of floats the fused one. What a kernel does besides (unpacking,
/// scales, activations) is not in it.</remarks>
public sealed class ComputePeak
{
    private const int Passes = 7;
    private const int LeastPasses = 3;
    private const int ThreadParts = 16;
    private static readonly TimeSpan Budget = TimeSpan.FromMilliseconds(100);

    private readonly CpuBackend _backend;

    /// <summary>Measures nothing yet.</summary>
    /// <param name="backend">Whose threads multiply.</param>
    public ComputePeak(CpuBackend backend)
    {
        ArgumentNullException.ThrowIfNull(backend);
        _backend = backend;
    }

    /// <summary>The instructions that multiply weights of a format, in a few words; formats with the same ones have the same peak.</summary>
    /// <param name="format">A format that the backend multiplies.</param>
    public string Instructions(BlockFormat format)
    {
        ArgumentNullException.ThrowIfNull(format);
        return _backend.PeakKernelOf(format).Instructions;
    }

    /// <summary>Measures: the best of at most seven passes, which take about a tenth of a second together.</summary>
    /// <param name="format">A format that the backend multiplies.</param>
    /// <param name="cancellation">Looked at between passes.</param>
    /// <returns>Multiplications with addition a second, all threads together.</returns>
    /// <exception cref="InvalidOperationException">The backend is in use.</exception>
    public double Measure(BlockFormat format, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(format);
        PackedKernel kernel = _backend.PeakKernelOf(format);
        ComputeJob job = new(kernel);
        int parts = ThreadParts * _backend.Threads;
        double best = double.MaxValue;
        Stopwatch total = Stopwatch.StartNew();
        for (int pass = 0; pass < Passes && (pass < LeastPasses || total.Elapsed < Budget); pass++)
        {
            cancellation.ThrowIfCancellationRequested();
            long start = Stopwatch.GetTimestamp();
            _backend.RunAlone(job, parts);
            best = Math.Min(best, Stopwatch.GetElapsedTime(start).TotalSeconds);
        }

        return parts * job.PartMacs / best;
    }
}
