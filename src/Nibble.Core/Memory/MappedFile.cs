using System.IO.MemoryMappedFiles;
using Microsoft.Win32.SafeHandles;

namespace Nibble.Core.Memory;

/// <summary>A whole file mapped for reading. The bytes do not move while the object lives, so weights are used in place.</summary>
/// <remarks>
/// Spans stay valid until <see cref="Dispose"/>; the caller does not dispose while another thread reads. A file that another program shortens
/// while it is mapped cannot be read safely by any program; on Windows the map prevents that, elsewhere the caller must.
/// </remarks>
public sealed unsafe class MappedFile : IDisposable
{
    private readonly SafeFileHandle _handle;
    private readonly MemoryMappedFile? _map;
    private readonly MemoryMappedViewAccessor? _view;
    private readonly byte* _first;
    private volatile bool _disposed;

    private MappedFile(string path, long length, SafeFileHandle handle, MemoryMappedFile? map)
    {
        _handle = handle;
        Path = path;
        Name = System.IO.Path.GetFileName(path);
        Length = length;
        _map = map;
        if (map is null) return;
        _view = map.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read);
        _first = (byte*)_view.SafeMemoryMappedViewHandle.DangerousGetHandle() + _view.PointerOffset;
    }

    /// <summary>The path as the caller gave it.</summary>
    public string Path { get; }

    /// <summary>The file's name without its folder, for messages.</summary>
    public string Name { get; }

    /// <summary>Bytes in the file when it was opened; 0 for an empty file.</summary>
    public long Length { get; }

    /// <summary>Maps a file.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="FileNotFoundException">There is no such file, or the path is a folder.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be read.</exception>
    /// <exception cref="IOException">The file cannot be read or mapped.</exception>
    public static MappedFile Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        string name = System.IO.Path.GetFileName(path);
        if (Directory.Exists(path)) throw new FileNotFoundException($"'{name}' is a folder; give the path of a file.", path);
        if (!File.Exists(path)) throw new FileNotFoundException($"There is no file '{name}' at the path given.", path);

        SafeFileHandle handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
        MemoryMappedFile? map = null;
        try
        {
            long length = RandomAccess.GetLength(handle);
            if (length > 0) map = MemoryMappedFile.CreateFromFile(handle, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
            return new MappedFile(path, length, handle, map);
        }
        catch
        {
            map?.Dispose();
            handle.Dispose();
            throw;
        }
    }

    /// <summary>A part of the file.</summary>
    /// <param name="offset">Bytes from the file's start.</param>
    /// <param name="length">Bytes.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part does not lie inside the file.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public ReadOnlySpan<byte> Span(long offset, int length)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (offset < 0 || length < 0 || offset > Length - length) ThrowOutside(offset, length);
        return new ReadOnlySpan<byte>(_first + offset, length);
    }

    /// <summary>Copies a part of the file by reading it, not through the map: what is looked at once is not worth the faults of its pages, which in a virtual machine cost several times the copy.</summary>
    /// <param name="offset">Bytes from the file's start.</param>
    /// <param name="to">Overwritten.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part does not lie inside the file.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    /// <exception cref="IOException">The file cannot be read, or was made shorter since it was opened.</exception>
    public void Read(long offset, Span<byte> to)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (offset < 0 || offset > Length - to.Length) ThrowOutside(offset, to.Length);
        for (int done = 0; done < to.Length;)
        {
            int read = RandomAccess.Read(_handle, to[done..], offset + done);
            if (read == 0) throw new IOException($"'{Name}' ends at byte {offset + done}; it had {Length} bytes when it was opened. Do not change a model while it is loaded.");
            done += read;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _disposed = true;
        _view?.Dispose();
        _map?.Dispose();
        _handle.Dispose();
    }

    private void ThrowOutside(long offset, int length) =>
        throw new ArgumentOutOfRangeException(nameof(offset), $"{length} bytes at offset {offset} do not lie inside '{Name}', which has {Length} bytes.");
}
