namespace Nibble.Core.Memory;

/// <summary>Gives buffers out of large blocks, one after the other, so that small matrices lie in the system's large pages, too. A block is freed when all buffers in it are.</summary>
/// <remarks>For buffers of one lifetime, as the weights of a model have. Not for several threads at once. Only Linux has large pages for who asks; elsewhere each buffer has memory of its own.</remarks>
public sealed class NativeArena : IDisposable
{
    /// <summary>Bytes of a block. What is left at a block's end and was never written takes no memory.</summary>
    public const int BlockBytes = 64 << 20;

    private NativeBuffer? _block;
    private long _used;

    /// <summary>A buffer, not zeroed.</summary>
    /// <param name="length">Bytes; from half a block on the buffer has memory of its own.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="length"/> is negative.</exception>
    /// <exception cref="InsufficientMemoryException">The system has no such block.</exception>
    public NativeBuffer Allocate(long length)
    {
        if (length >= BlockBytes / 2 || !OperatingSystem.IsLinux()) return new NativeBuffer(length, isZeroed: false);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        if (_block is null || _used > BlockBytes - length)
        {
            NativeBuffer next = new(BlockBytes, isZeroed: false);
            Close();
            _block = next;
        }

        NativeBuffer part = new(_block, _used, length);
        _used += (length + NativeBuffer.Alignment - 1) & -NativeBuffer.Alignment;
        return part;
    }

    /// <summary>Begins another block for the next buffer, so that those before and those behind are freed apart.</summary>
    public void Close()
    {
        _block?.Dispose();
        (_block, _used) = (null, 0);
    }

    /// <inheritdoc/>
    public void Dispose() => Close();
}
