using System.Text;

namespace Nibble.Gpu.Drivers.OpenCL;

/// <summary>A built program.</summary>
internal sealed unsafe class OpenClModule(OpenClDevice device, nint program, string name) : GpuModule
{
    private readonly Dictionary<string, OpenClKernel> _kernels = [];
    private bool _disposed;

    /// <inheritdoc/>
    public override GpuKernel Kernel(string function)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (_kernels.TryGetValue(function, out OpenClKernel? known)) return known;
        int error;
        nint handle;
        fixed (byte* text = Encoding.UTF8.GetBytes(function + '\0'))
            handle = OpenClApi.CreateKernel(program, text, &error);
        device.Check(error, $"clCreateKernel of {function} in {name}");
        try
        {
            return _kernels[function] = new OpenClKernel(device, handle, function);
        }
        catch
        {
            _ = OpenClApi.ReleaseKernel(handle);
            throw;
        }
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        foreach (OpenClKernel kernel in _kernels.Values)
            kernel.Release();
        _ = OpenClApi.ReleaseProgram(program);
    }
}

/// <summary>A kernel of a program.</summary>
internal sealed unsafe class OpenClKernel : GpuKernel
{
    private readonly OpenClDevice _device;
    private readonly nint _handle;
    private readonly string _name;
    private readonly uint _count;
    private uint _next;

    public OpenClKernel(OpenClDevice device, nint handle, string name)
    {
        _device = device;
        _handle = handle;
        _name = name;
        uint count = 0;
        device.Check(OpenClApi.GetKernelInfo(handle, OpenClApi.KernelNumArgs, 4, &count, null), $"clGetKernelInfo of {name}");
        _count = count;
        nuint items = 0;
        device.Check(OpenClApi.GetKernelWorkGroupInfo(handle, device.Id, OpenClApi.KernelWorkGroupSize, (nuint)sizeof(nuint), &items, null), $"clGetKernelWorkGroupInfo of {name}");
        MaxGroupItems = (int)Math.Min(items, int.MaxValue);
    }

    /// <inheritdoc/>
    public override int MaxGroupItems { get; }

    /// <inheritdoc/>
    public override GpuKernel Start()
    {
        // A kernel of a device that was closed is no more.
        _ = _device.Queue;
        _next = 0;
        return this;
    }

    /// <inheritdoc/>
    public override GpuKernel With(GpuBuffer buffer)
    {
        nint memory = OpenClBuffer.Of(buffer).Handle;
        return Set((nuint)sizeof(nint), &memory);
    }

    /// <inheritdoc/>
    public override GpuKernel With(int value) => Set(4, &value);

    /// <inheritdoc/>
    public override GpuKernel With(long value) => Set(8, &value);

    /// <inheritdoc/>
    public override GpuKernel With(float value) => Set(4, &value);

    /// <inheritdoc/>
    public override GpuKernel WithLocal(int bytes) => Set((nuint)bytes, null);

    /// <inheritdoc/>
    public override void Run(Extent groups, Extent items)
    {
        uint given = _next;
        _next = 0;
        if (given != _count) throw new InvalidOperationException($"kernel {_name} takes {_count} arguments and was given {given}.");
        if (groups.Count == 0) return;
        nuint* global = stackalloc nuint[] { (nuint)groups.X * (nuint)items.X, (nuint)groups.Y * (nuint)items.Y, (nuint)groups.Z * (nuint)items.Z };
        nuint* local = stackalloc nuint[] { (nuint)items.X, (nuint)items.Y, (nuint)items.Z };
        int error = OpenClApi.EnqueueNDRangeKernel(_device.Queue, _handle, 3, null, global, local, 0, null, null);
        if (error != OpenClApi.Success) _device.Check(error, $"kernel {_name} ({groups} groups of {items})");
    }

    /// <summary>Frees the kernel; its module calls it.</summary>
    internal void Release() => _ = OpenClApi.ReleaseKernel(_handle);

    private OpenClKernel Set(nuint size, void* value)
    {
        int error = OpenClApi.SetKernelArg(_handle, _next, size, value);
        if (error != OpenClApi.Success)
        {
            uint index = _next;
            _next = 0;
            _device.Check(error, $"argument {index} of kernel {_name}");
        }

        _next++;
        return this;
    }
}
