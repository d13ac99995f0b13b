using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Cpu;
using Nibble.Gpu;

namespace Nibble.Cli.Kernels;

/// <summary>What runs kernels, and what it gives at best.</summary>
internal abstract class KernelMachine : IDisposable
{
    /// <summary>The instruction path, or the device.</summary>
    public abstract string Path { get; }

    /// <summary>Threads, or compute units.</summary>
    public abstract int Threads { get; }

    /// <summary>Bytes of all caches.</summary>
    public abstract long CacheBytes { get; }

    /// <summary>Products that are asked for before their end is waited for.</summary>
    public abstract int Batch { get; }

    /// <summary>The machine of a backend, whose owner disposes of it after this.</summary>
    /// <exception cref="InsufficientMemoryException">There is no memory to measure the memory's speed.</exception>
    public static KernelMachine Of(Backend backend) => backend is GpuBackend gpu ? new Gpu(gpu) : new Cpu((CpuBackend)backend);

    /// <summary>The instructions that multiply with weights of a format.</summary>
    public abstract string Instructions(BlockFormat format);

    /// <summary>Bytes a second that memory gives.</summary>
    public abstract double ReadBytes(CancellationToken cancellation);

    /// <summary>Products a second that the multipliers give.</summary>
    public abstract double Macs(BlockFormat format, CancellationToken cancellation);

    /// <summary>Waits until the products that were asked for are done.</summary>
    public abstract void Finish();

    /// <inheritdoc/>
    public abstract void Dispose();

    private sealed class Cpu(CpuBackend backend) : KernelMachine
    {
        private readonly ReadBandwidth _bandwidth = new(backend);
        private readonly ComputePeak _compute = new(backend);

        public override string Path => backend.Path.Name;

        public override int Threads => backend.Threads;

        public override long CacheBytes => _bandwidth.CacheBytes;

        public override int Batch => 1;

        public override string Instructions(BlockFormat format) => _compute.Instructions(format);

        public override double ReadBytes(CancellationToken cancellation) => _bandwidth.Measure(cancellation);

        public override double Macs(BlockFormat format, CancellationToken cancellation) => _compute.Measure(format, cancellation);

        public override void Finish()
        {
            // A product is done when the call returns.
        }

        public override void Dispose() => _bandwidth.Dispose();
    }

    private sealed class Gpu(GpuBackend backend) : KernelMachine
    {
        public override string Path => backend.Device.DeviceName;

        public override int Threads => backend.Device.ComputeUnits;

        public override long CacheBytes => backend.Device.CacheBytes;

        public override int Batch => 8;

        public override string Instructions(BlockFormat format) => "float32";

        public override double ReadBytes(CancellationToken cancellation) => backend.MeasureReadBytes(cancellation);

        public override double Macs(BlockFormat format, CancellationToken cancellation) => backend.MeasureMultiplyAdds(cancellation);

        public override void Finish() => backend.Finish();

        public override void Dispose()
        {
        }
    }
}
