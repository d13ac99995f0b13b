using System.Runtime.InteropServices;

namespace Nibble.Core.Memory;

/// <summary>Native memory, zeroed unless asked otherwise, aligned to 64 bytes, freed once. Weights, KV caches and activations live in such buffers, never in managed arrays.</summary>
public sealed unsafe partial class NativeBuffer : SafeHandle
{
    /// <summary>The alignment of the first byte: a cache line, and the widest vector.</summary>
    public const int Alignment = 64;

    /// <summary>Bytes of a large page. Where the system has such for who asks, buffers from this size on ask: a stream through small pages stops at each, and each is a fault when it is first written.</summary>
    public const int LargePage = 2 << 20;

    private const int AdviseLargePages = 14;

    private readonly NativeBuffer? _owner;

    /// <summary>Allocates memory.</summary>
    /// <param name="length">Bytes; 0 is allowed.</param>
    /// <param name="isZeroed">Whether it is zeroed. What is overwritten anyway need not be, and threads that write it first then get their own part of the memory's pages.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="length"/> is negative.</exception>
    /// <exception cref="InsufficientMemoryException">The system has no such block.</exception>
    public NativeBuffer(long length, bool isZeroed = true)
        : base(0, ownsHandle: true)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        Length = length;
        nuint bytes = (nuint)Math.Max(length, 1);
        void* memory;
        try
        {
            bool isLarge = length >= LargePage && OperatingSystem.IsLinux();
            memory = NativeMemory.AlignedAlloc(bytes, isLarge ? LargePage : (nuint)Alignment);
            if (isLarge) _ = Advise(memory, bytes & ~(nuint)4095, AdviseLargePages);
        }
        catch (OutOfMemoryException)
        {
            throw new InsufficientMemoryException($"The system could not give {length:N0} bytes of memory.");
        }

        if (isZeroed) NativeMemory.Clear(memory, bytes);
        SetHandle((nint)memory);
    }

    /// <summary>A part of another buffer, whose memory is freed when it and all parts are.</summary>
    /// <param name="owner">The other buffer.</param>
    /// <param name="start">Bytes from its first one, a multiple of <see cref="Alignment"/>.</param>
    /// <param name="length">Bytes.</param>
    internal NativeBuffer(NativeBuffer owner, long start, long length)
        : base(0, ownsHandle: true)
    {
        bool isHeld = false;
        owner.DangerousAddRef(ref isHeld);
        (_owner, Length) = (owner, length);
        SetHandle((nint)(owner.Pointer + start));
    }

    /// <summary>Bytes.</summary>
    public long Length { get; }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <summary>The address of the first byte. The caller keeps this object alive while it uses the address.</summary>
    /// <exception cref="ObjectDisposedException">The buffer was freed.</exception>
    public byte* Pointer
    {
        get
        {
            ObjectDisposedException.ThrowIf(IsClosed, this);
            return (byte*)handle;
        }
    }

    /// <summary>A part of the buffer as a span.</summary>
    /// <typeparam name="T">The element type.</typeparam>
    /// <param name="start">First element.</param>
    /// <param name="count">Elements.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part does not lie inside the buffer.</exception>
    public Span<T> Span<T>(long start, int count)
        where T : unmanaged
    {
        if (start < 0 || count < 0 || start > Length / sizeof(T) - count)
            throw new ArgumentOutOfRangeException(nameof(start), $"elements {start} to {start + count} of {sizeof(T)} bytes do not lie inside a buffer of {Length} bytes.");
        return new Span<T>((T*)Pointer + start, count);
    }

    // Advice that is not taken changes nothing.
    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(void* address, nuint length, int advice);

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        if (_owner is null) NativeMemory.AlignedFree((void*)handle);
        else _owner.DangerousRelease();
        return true;
    }
}
