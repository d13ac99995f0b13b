using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Nibble.Testing;

/// <summary>Which end of a <see cref="GuardedMemory{T}"/> touches the protected page exactly.</summary>
public enum GuardSide
{
    /// <summary>The byte before the first value cannot be touched; the first value is page-aligned.</summary>
    Start,

    /// <summary>The byte after the last value cannot be touched; the first value may lie at any multiple of the length's alignment.</summary>
    End,
}

/// <summary>
/// Zeroed memory between two pages that can be neither read nor written, so that code which leaves its span kills the test run instead of
/// passing by luck. Linux and Windows protect the pages; elsewhere the memory is ordinary and <see cref="IsGuarded"/> is false.
/// </summary>
/// <typeparam name="T">The value type.</typeparam>
public sealed unsafe class GuardedMemory<T> : IDisposable
    where T : unmanaged
{
    private readonly GuardedPages _pages;
    private readonly T* _first;

    /// <summary>Allocates the memory.</summary>
    /// <param name="length">Values; 0 is allowed.</param>
    /// <param name="side">The end that touches a protected page exactly.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="length"/> is negative.</exception>
    /// <exception cref="OverflowException">The values take more than 2 GiB.</exception>
    public GuardedMemory(int length, GuardSide side = GuardSide.End)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        Length = length;
        int bytes = checked(length * sizeof(T));
        _pages = new GuardedPages(bytes);
        _first = (T*)(side == GuardSide.Start ? _pages.Data : _pages.Data + _pages.DataBytes - bytes);
    }

    /// <summary>Allocates the memory and fills it with a copy.</summary>
    /// <param name="values">The values.</param>
    /// <param name="side">The end that touches a protected page exactly.</param>
    public GuardedMemory(ReadOnlySpan<T> values, GuardSide side = GuardSide.End)
        : this(values.Length, side) => values.CopyTo(Span);

    /// <summary>Whether the pages around the memory are protected, which depends on the system.</summary>
    public bool IsGuarded { get; } = OperatingSystem.IsLinux() || OperatingSystem.IsWindows();

    /// <summary>Values.</summary>
    public int Length { get; }

    /// <summary>The memory.</summary>
    /// <exception cref="ObjectDisposedException">It has been freed.</exception>
    public Span<T> Span
    {
        get
        {
            ObjectDisposedException.ThrowIf(_pages.IsClosed, this);
            return new Span<T>(_first, Length);
        }
    }

    /// <summary>The address of the first value.</summary>
    public T* Pointer => _first;

    /// <summary>Frees the memory and its guards.</summary>
    public void Dispose() => _pages.Dispose();
}

/// <summary>Whole pages of data with one protected page before and one after.</summary>
internal sealed unsafe partial class GuardedPages : SafeHandle
{
    private const int ProtNone = 0, ProtReadWrite = 3, MapPrivateAnonymous = 0x22;
    private const uint MemReserveCommit = 0x3000, MemRelease = 0x8000, PageNoAccess = 0x01, PageReadWrite = 0x04;

    private readonly nuint _totalBytes;

    public GuardedPages(int bytes)
        : base(0, ownsHandle: true)
    {
        nuint page = (nuint)Environment.SystemPageSize;
        DataBytes = Math.Max(1, ((nuint)bytes + page - 1) / page) * page;
        _totalBytes = DataBytes + 2 * page;
        SetHandle(Allocate(_totalBytes));
        Data = (byte*)handle + page;
        Protect((byte*)handle, page);
        Protect(Data + DataBytes, page);
    }

    public byte* Data { get; }

    public nuint DataBytes { get; }

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        if (OperatingSystem.IsLinux()) return Munmap(handle, _totalBytes) == 0;
        if (OperatingSystem.IsWindows()) return VirtualFree(handle, 0, MemRelease) != 0;
        NativeMemory.AlignedFree((void*)handle);
        return true;
    }

    private static nint Allocate(nuint bytes)
    {
        if (OperatingSystem.IsLinux())
        {
            nint memory = Mmap(0, bytes, ProtReadWrite, MapPrivateAnonymous, -1, 0);
            return memory != -1 ? memory : throw new Win32Exception(Marshal.GetLastPInvokeError());
        }

        if (OperatingSystem.IsWindows())
        {
            nint memory = VirtualAlloc(0, bytes, MemReserveCommit, PageReadWrite);
            return memory != 0 ? memory : throw new Win32Exception(Marshal.GetLastPInvokeError());
        }

        void* plain = NativeMemory.AlignedAlloc(bytes, (nuint)Environment.SystemPageSize);
        NativeMemory.Clear(plain, bytes);
        return (nint)plain;
    }

    private static void Protect(byte* address, nuint bytes)
    {
        bool done = true;
        if (OperatingSystem.IsLinux()) done = Mprotect((nint)address, bytes, ProtNone) == 0;
        else if (OperatingSystem.IsWindows()) done = VirtualProtect((nint)address, bytes, PageNoAccess, out _) != 0;
        if (!done) throw new Win32Exception(Marshal.GetLastPInvokeError());
    }

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial nint Mmap(nint address, nuint bytes, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect", SetLastError = true)]
    private static partial int Mprotect(nint address, nuint bytes, int protection);

    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    private static partial int Munmap(nint address, nuint bytes);

    [LibraryImport("kernel32", SetLastError = true)]
    private static partial nint VirtualAlloc(nint address, nuint bytes, uint kind, uint protection);

    [LibraryImport("kernel32", SetLastError = true)]
    private static partial int VirtualProtect(nint address, nuint bytes, uint protection, out uint previous);

    [LibraryImport("kernel32", SetLastError = true)]
    private static partial int VirtualFree(nint address, nuint bytes, uint kind);
}
