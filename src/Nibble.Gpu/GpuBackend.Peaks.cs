using System.Diagnostics;
using Nibble.Gpu.Drivers;

namespace Nibble.Gpu;

/// <content>What the device gives at best, as measured by two kernels.</content>
public sealed partial class GpuBackend
{
    private const int PeakRepetitions = 5;
    private const long LeastPeakBytes = 256 << 20, MostPeakBytes = 1 << 30;
    private static readonly TimeSpan s_peakTime = TimeSpan.FromMilliseconds(20);

    /// <summary>Waits until everything that was enqueued is done.</summary>
    public void Finish() => _device.Finish();

    /// <summary>Measures how fast the device reads its memory, in bytes a second: the best of several runs over a buffer that its caches do not hold.</summary>
    /// <param name="cancellation">Looked at between runs.</param>
    /// <exception cref="OperationCanceledException">It was stopped.</exception>
    /// <exception cref="InsufficientMemoryException">There is no memory for the buffer.</exception>
    public double MeasureReadBytes(CancellationToken cancellation = default)
    {
        GpuKernel kernel = PeakKernel("read_memory");
        (int groups, int items) = PeakSize(kernel);
        long most = Math.Min(MostPeakBytes, _device.MaxBufferBytes), wanted = Math.Clamp(2 * _device.Info.CacheBytes, Math.Min(LeastPeakBytes, most), most);
        int vector = _rowVector * 4, count = (int)(wanted / vector / groups / items * items);
        long bytes = (long)count * groups * vector;
        using GpuBuffer memory = _device.Allocate(bytes, "the measurement of memory"), sums = _device.Allocate((long)groups * items * vector, "the sums of a measurement");
        _device.Clear(memory);
        return bytes / Best(() => kernel.Start().With(memory).With(count).With(sums).Run(new Extent(groups), new Extent(items)), cancellation);
    }

    /// <summary>Measures how many float32 multiply-adds the device does on registers, in a second: the best of several runs.</summary>
    /// <param name="cancellation">Looked at between runs.</param>
    /// <exception cref="OperationCanceledException">It was stopped.</exception>
    public double MeasureMultiplyAdds(CancellationToken cancellation = default)
    {
        const int Rounds = 4096;
        GpuKernel kernel = PeakKernel("multiply_add");
        (int groups, int items) = PeakSize(kernel);
        using GpuBuffer sums = _device.Allocate((long)groups * items * _rowVector * 4, "the sums of a measurement");
        return (double)groups * items * _rowVector * 8 * Rounds / Best(() => kernel.Start().With(sums).With(Rounds).With(0.5f).Run(new Extent(groups), new Extent(items)), cancellation);
    }

    private GpuKernel PeakKernel(string name) => _kernels.Module("peaks", $"V={_rowVector}").Kernel(name);

    private (int Groups, int Items) PeakSize(GpuKernel kernel) => _device.Info.IsProcessor ? (4 * _device.Info.ComputeUnits, 1) : (16 * _device.Info.ComputeUnits, Fitting(kernel, 256));

    // Seconds of a run.
    private double Best(Action run, CancellationToken cancellation)
    {
        run();
        _device.Finish();
        double best = double.PositiveInfinity;
        for (int i = 0; i < PeakRepetitions; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            int runs = 0;
            long start = Stopwatch.GetTimestamp();
            do
            {
                run();
                _device.Finish();
                runs++;
            }
            while (Stopwatch.GetElapsedTime(start) < s_peakTime);
            best = Math.Min(best, Stopwatch.GetElapsedTime(start).TotalSeconds / runs);
        }

        return best;
    }
}
