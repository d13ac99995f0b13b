namespace Nibble.Gpu.Drivers;

/// <summary>An opened device with one queue, in which everything happens in the order in which it was asked for. What a driver implements; one thread at a time uses it.</summary>
internal abstract class GpuDevice : IDisposable
{
    private readonly Lock _gate = new();
    private readonly HashSet<GpuBuffer> _live = [];
    private long _liveBytes;
    private bool _isClosed;

    protected GpuDevice(GpuDeviceInfo info, long bufferLimit)
    {
        Info = info;
        MaxBufferBytes = bufferLimit > 0 ? Math.Min(bufferLimit, info.MaxBufferBytes) : info.MaxBufferBytes;
    }

    /// <summary>What the driver says of it.</summary>
    public GpuDeviceInfo Info { get; }

    /// <summary>Bytes that one buffer can have.</summary>
    public long MaxBufferBytes { get; }

    /// <summary>Buffers that were allocated and not disposed of. A device that was closed still counts them, though their memory is gone.</summary>
    public int LiveBuffers
    {
        get
        {
            lock (_gate) return _live.Count;
        }
    }

    /// <summary>Their bytes.</summary>
    public long LiveBytes => Interlocked.Read(ref _liveBytes);

    /// <summary>Whether the device was closed: it and its buffers cannot be used any more.</summary>
    public bool IsClosed => Volatile.Read(ref _isClosed);

    /// <summary>Bytes that were copied out so far.</summary>
    public long ReadBytes { get; protected set; }

    /// <summary>Allocates memory; its content is undefined.</summary>
    /// <param name="bytes">Bytes; of 0 a few are allocated.</param>
    /// <param name="what">What it is for, for the message.</param>
    /// <exception cref="InsufficientMemoryException">The device has no such block.</exception>
    public GpuBuffer Allocate(long bytes, string what)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        if (bytes > MaxBufferBytes)
            throw new InsufficientMemoryException($"{what} takes {bytes:N0} bytes; device '{Info.Name}' has buffers of {MaxBufferBytes:N0} bytes at most.");
        long rounded = Math.Max(16, (bytes + 15) & -16);
        ObjectDisposedException.ThrowIf(IsClosed, this);
        GpuBuffer buffer = AllocateCore(rounded, what);
        lock (_gate) _live.Add(buffer);
        Interlocked.Add(ref _liveBytes, rounded);
        return buffer;
    }

    /// <summary>Allocates memory that has some content.</summary>
    /// <param name="content">The bytes.</param>
    /// <param name="what">What it is for, for the message.</param>
    /// <exception cref="InsufficientMemoryException">The device has no such block.</exception>
    public GpuBuffer Allocate(ReadOnlySpan<byte> content, string what)
    {
        GpuBuffer buffer = Allocate(content.Length, what);
        try
        {
            Write(buffer, 0, content);
            return buffer;
        }
        catch
        {
            buffer.Dispose();
            throw;
        }
    }

    /// <summary>Copies bytes in. They may be changed as soon as the call returns.</summary>
    public abstract void Write(GpuBuffer to, long offset, ReadOnlySpan<byte> bytes);

    /// <summary>Waits for all work before and copies bytes out.</summary>
    public abstract void Read(GpuBuffer from, long offset, Span<byte> bytes);

    /// <summary>Copies bytes between two buffers.</summary>
    public abstract void Copy(GpuBuffer from, long fromOffset, GpuBuffer to, long toOffset, long bytes);

    /// <summary>Makes a whole buffer 0.</summary>
    public abstract void Clear(GpuBuffer buffer);

    /// <summary>Builds kernels.</summary>
    /// <param name="name">The module's name, for messages.</param>
    /// <param name="source">Source text.</param>
    /// <param name="defines">Macros: <c>NAME=value</c>.</param>
    /// <param name="isNewest">Whether it needs the newest language that the device compiles, not the oldest.</param>
    /// <exception cref="GpuException">It does not build; the message has the log.</exception>
    public abstract GpuModule Build(string name, string source, ReadOnlySpan<string> defines, bool isNewest = false);

    /// <summary>Waits until everything is done.</summary>
    public abstract void Finish();

    /// <summary>Closes the device; all of its memory is freed, also that of buffers that are still live.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_isClosed) return;
            _isClosed = true;
            foreach (GpuBuffer buffer in _live)
                buffer.Free();
        }

        Close();
    }

    /// <summary>Called by a buffer that its owner no longer needs.</summary>
    internal void Free(GpuBuffer buffer)
    {
        lock (_gate)
        {
            _live.Remove(buffer);
            if (!_isClosed) buffer.Free();
        }

        Interlocked.Add(ref _liveBytes, -buffer.Length);
    }

    /// <summary>Gives back what the driver gave, but for memory. Called once.</summary>
    protected abstract void Close();

    protected abstract GpuBuffer AllocateCore(long bytes, string what);
}

/// <summary>Memory of a device, counted by it, and freed once.</summary>
internal abstract class GpuBuffer(GpuDevice device, long length) : IDisposable
{
    private int _freed;

    /// <summary>Whose memory.</summary>
    public GpuDevice Device { get; } = device;

    /// <summary>Bytes.</summary>
    public long Length { get; } = length;

    /// <summary>Frees the memory as soon as the work that was asked for before no longer needs it.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _freed, 1) != 0) return;
        Device.Free(this);
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives the memory back to the driver. The device calls it, once.</summary>
    internal abstract void Free();

    protected void ThrowIfFreed() => ObjectDisposedException.ThrowIf(Volatile.Read(ref _freed) != 0 || Device.IsClosed, this);
}

/// <summary>Built kernels.</summary>
internal abstract class GpuModule : IDisposable
{
    /// <summary>A kernel; the module owns it.</summary>
    /// <param name="name">Its function's name.</param>
    public abstract GpuKernel Kernel(string name);

    /// <inheritdoc/>
    public abstract void Dispose();
}

/// <summary>A kernel. After <see cref="Start"/> arguments are given one after the other, then it runs.</summary>
internal abstract class GpuKernel
{
    /// <summary>Work-items that one work-group of it can have.</summary>
    public abstract int MaxGroupItems { get; }

    /// <summary>The next argument is the first one: of a call that failed halfway nothing is left.</summary>
    public abstract GpuKernel Start();

    /// <summary>The next argument: memory.</summary>
    public abstract GpuKernel With(GpuBuffer buffer);

    /// <summary>The next argument: int.</summary>
    public abstract GpuKernel With(int value);

    /// <summary>The next argument: long.</summary>
    public abstract GpuKernel With(long value);

    /// <summary>The next argument: float.</summary>
    public abstract GpuKernel With(float value);

    /// <summary>The next argument: local memory of a group.</summary>
    public abstract GpuKernel WithLocal(int bytes);

    /// <summary>Enqueues it.</summary>
    /// <param name="groups">Work-groups in each dimension; nothing happens where one is 0.</param>
    /// <param name="items">Work-items of a group in each dimension.</param>
    public abstract void Run(Extent groups, Extent items);
}

/// <summary>A size in three dimensions.</summary>
internal readonly record struct Extent(int X, int Y = 1, int Z = 1)
{
    /// <summary>Its product.</summary>
    public long Count => (long)X * Y * Z;
}
