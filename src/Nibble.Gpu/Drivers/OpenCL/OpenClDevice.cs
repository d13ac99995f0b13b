using System.Text;
using Nibble.Core.Memory;

namespace Nibble.Gpu.Drivers.OpenCL;

/// <summary>A device of OpenCL 1.2 with a context of its own and one queue in order.</summary>
internal sealed unsafe class OpenClDevice : GpuDevice
{
    // What is written often and little goes through here, so that the host need not wait for the queue.
    private const int StagingBytes = 4 << 20, StagedBytes = StagingBytes / 4;

    private readonly nint _device, _context, _queue;
    private readonly ProgramCache? _cache;
    private readonly NativeBuffer _staging;
    private long _staged;

    /// <summary>Opens a device.</summary>
    /// <param name="entry">Which.</param>
    /// <param name="cache">Where built programs are kept, or null.</param>
    /// <param name="bufferLimit">Bytes of a buffer at most, below the device's own limit; 0 for that.</param>
    public OpenClDevice(OpenClDevices.Entry entry, ProgramCache? cache, long bufferLimit = 0)
        : base(entry.Info, bufferLimit)
    {
        if (entry.Info.Problem is { } problem) throw new GpuException($"device '{entry.Info.Name}' cannot be used: {problem}.");
        _device = entry.Device;
        _cache = cache;
        nint* properties = stackalloc nint[] { 0x1084, entry.Platform, 0 };
        int error;
        nint device = _device;
        _context = OpenClApi.CreateContext(properties, 1, &device, 0, 0, &error);
        Check(error, "clCreateContext");
        _queue = OpenClApi.CreateCommandQueue(_context, _device, 0, &error);
        if (error != OpenClApi.Success) _ = OpenClApi.ReleaseContext(_context);
        Check(error, "clCreateCommandQueue");
        _staging = new NativeBuffer(StagingBytes, isZeroed: false);
    }

    /// <summary>cl_command_queue.</summary>
    /// <exception cref="ObjectDisposedException">The device was closed.</exception>
    public nint Queue
    {
        get
        {
            ObjectDisposedException.ThrowIf(IsClosed, this);
            return _queue;
        }
    }

    /// <summary>cl_device_id.</summary>
    public nint Id => _device;

    /// <inheritdoc/>
    public override void Write(GpuBuffer to, long offset, ReadOnlySpan<byte> bytes)
    {
        if (bytes.IsEmpty) return;
        CheckRange(to, offset, bytes.Length);
        nint memory = OpenClBuffer.Of(to).Handle;
        if (bytes.Length > StagedBytes)
        {
            fixed (byte* from = bytes)
                Check(OpenClApi.EnqueueWriteBuffer(Queue, memory, 1, (nuint)offset, (nuint)bytes.Length, from, 0, null, null), "clEnqueueWriteBuffer");
            return;
        }

        if (_staged + bytes.Length > StagingBytes)
        {
            Finish();
            _staged = 0;
        }

        Span<byte> slot = _staging.Span<byte>(_staged, bytes.Length);
        bytes.CopyTo(slot);
        Check(OpenClApi.EnqueueWriteBuffer(Queue, memory, 0, (nuint)offset, (nuint)bytes.Length, _staging.Pointer + _staged, 0, null, null), "clEnqueueWriteBuffer");
        _staged = (_staged + bytes.Length + 63) & -64;
    }

    /// <inheritdoc/>
    public override void Read(GpuBuffer from, long offset, Span<byte> bytes)
    {
        if (bytes.IsEmpty) return;
        CheckRange(from, offset, bytes.Length);
        fixed (byte* to = bytes)
            Check(OpenClApi.EnqueueReadBuffer(Queue, OpenClBuffer.Of(from).Handle, 1, (nuint)offset, (nuint)bytes.Length, to, 0, null, null), "clEnqueueReadBuffer");
        _staged = 0;
        ReadBytes += bytes.Length;
    }

    /// <inheritdoc/>
    public override void Copy(GpuBuffer from, long fromOffset, GpuBuffer to, long toOffset, long bytes)
    {
        if (bytes == 0) return;
        CheckRange(from, fromOffset, bytes);
        CheckRange(to, toOffset, bytes);
        Check(OpenClApi.EnqueueCopyBuffer(Queue, OpenClBuffer.Of(from).Handle, OpenClBuffer.Of(to).Handle, (nuint)fromOffset, (nuint)toOffset, (nuint)bytes, 0, null, null), "clEnqueueCopyBuffer");
    }

    /// <inheritdoc/>
    public override void Clear(GpuBuffer buffer)
    {
        int zero = 0;
        Check(OpenClApi.EnqueueFillBuffer(Queue, OpenClBuffer.Of(buffer).Handle, &zero, 4, 0, (nuint)buffer.Length, 0, null, null), "clEnqueueFillBuffer");
    }

    /// <inheritdoc/>
    public override void Finish() => Check(OpenClApi.Finish(Queue), "clFinish");

    /// <inheritdoc/>
    public override GpuModule Build(string name, string source, ReadOnlySpan<string> defines, bool isNewest = false)
    {
        ObjectDisposedException.ThrowIf(IsClosed, this);
        // A later language changes what unadorned pointers mean, so that only what needs it gets it.
        StringBuilder options = new($"-cl-std={(isNewest ? Info.NewestLanguage : "CL1.2")}");
        foreach (string define in defines)
            options.Append(" -D").Append(define);
        string text = options.ToString();
        string key = ProgramCache.Key(Info, source, text);
        if (_cache?.Read(key) is { } binary && FromBinary(binary, text) is { } cached) return new OpenClModule(this, cached, name);

        byte[] bytes = Encoding.UTF8.GetBytes(source);
        int error;
        nint program;
        fixed (byte* pointer = bytes)
        {
            byte* start = pointer;
            nuint length = (nuint)bytes.Length;
            program = OpenClApi.CreateProgramWithSource(_context, 1, &start, &length, &error);
        }

        Check(error, $"clCreateProgramWithSource of {name}");
        error = BuildProgram(program, text);
        if (error != OpenClApi.Success)
        {
            string log = BuildLog(program);
            _ = OpenClApi.ReleaseProgram(program);
            throw new GpuException($"device '{Info.Name}': the kernels of {name} do not build ({OpenClError.Name(error)}, options {text}). The compiler says:\n{log}");
        }

        if (_cache is not null && Binary(program) is { } built) _cache.Write(key, built);
        return new OpenClModule(this, program, name);
    }

    /// <inheritdoc/>
    protected override void Close()
    {
        _ = OpenClApi.Finish(_queue);
        _ = OpenClApi.ReleaseCommandQueue(_queue);
        _ = OpenClApi.ReleaseContext(_context);
        _staging.Dispose();
    }

    /// <summary>Throws where a call failed.</summary>
    internal void Check(int error, string call)
    {
        if (error != OpenClApi.Success) OpenClError.Check(error, Info.Name, call);
    }

    /// <inheritdoc/>
    protected override GpuBuffer AllocateCore(long bytes, string what)
    {
        int error;
        nint memory = OpenClApi.CreateBuffer(_context, OpenClApi.MemReadWrite, (nuint)bytes, null, &error);
        if (error is OpenClApi.AllocationFailure or OpenClApi.OutOfResources or OpenClApi.OutOfHostMemory)
            throw new InsufficientMemoryException($"device '{Info.Name}' could not give {bytes:N0} bytes for {what} ({OpenClError.Name(error)}); {LiveBytes:N0} bytes are in use.");
        Check(error, $"clCreateBuffer for {what}");
        return new OpenClBuffer(this, bytes, memory);
    }

    private static void CheckRange(GpuBuffer buffer, long offset, long bytes)
    {
        if (offset < 0 || bytes < 0 || offset > buffer.Length - bytes)
            throw new ArgumentOutOfRangeException(nameof(offset), $"bytes {offset} to {offset + bytes} do not lie inside a buffer of {buffer.Length}.");
    }

    // A binary that the driver does not take, or takes and cannot build, is no error: there is the source.
    private nint? FromBinary(byte[] binary, string options)
    {
        nint device = _device, program;
        int status, error;
        fixed (byte* pointer = binary)
        {
            byte* start = pointer;
            nuint length = (nuint)binary.Length;
            program = OpenClApi.CreateProgramWithBinary(_context, 1, &device, &length, &start, &status, &error);
        }

        if (error != OpenClApi.Success) return null;
        if (status == OpenClApi.Success && BuildProgram(program, options) == OpenClApi.Success) return program;
        _ = OpenClApi.ReleaseProgram(program);
        return null;
    }

    private int BuildProgram(nint program, string options)
    {
        nint device = _device;
        fixed (byte* text = Encoding.UTF8.GetBytes(options + '\0'))
            return OpenClApi.BuildProgram(program, 1, &device, text, 0, 0);
    }

    private string BuildLog(nint program)
    {
        nuint size = 0;
        if (OpenClApi.GetProgramBuildInfo(program, _device, OpenClApi.ProgramBuildLog, 0, null, &size) != OpenClApi.Success) return "nothing";
        byte[] log = new byte[size];
        fixed (byte* pointer = log)
            _ = OpenClApi.GetProgramBuildInfo(program, _device, OpenClApi.ProgramBuildLog, size, pointer, null);
        string text = Encoding.UTF8.GetString(log).TrimEnd('\0', '\n');
        return text.Length == 0 ? "nothing" : text;
    }

    private static byte[]? Binary(nint program)
    {
        nuint size = 0;
        if (OpenClApi.GetProgramInfo(program, OpenClApi.ProgramBinarySizes, (nuint)sizeof(nuint), &size, null) != OpenClApi.Success || size == 0) return null;
        byte[] binary = new byte[size];
        fixed (byte* pointer = binary)
        {
            byte* start = pointer;
            return OpenClApi.GetProgramInfo(program, OpenClApi.ProgramBinaries, (nuint)sizeof(byte*), &start, null) == OpenClApi.Success ? binary : null;
        }
    }
}

/// <summary>Memory of an OpenCL device.</summary>
internal sealed class OpenClBuffer(OpenClDevice device, long length, nint handle) : GpuBuffer(device, length)
{
    /// <summary>cl_mem.</summary>
    public nint Handle
    {
        get
        {
            ThrowIfFreed();
            return handle;
        }
    }

    /// <summary>The buffer as this class.</summary>
    public static OpenClBuffer Of(GpuBuffer buffer) => (OpenClBuffer)buffer;

    // The driver keeps it until the work that was enqueued before is done.
    internal override void Free() => _ = OpenClApi.ReleaseMemObject(handle);
}
