using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using Nibble.Core.Memory;

namespace Nibble.Quantize.Calibration;

/// <summary>The states of all chunks between two layers: in memory up to a budget, above it in a temporary file that vanishes with this object.</summary>
internal sealed class StateStore : IDisposable
{
    private readonly NativeBuffer? _memory;
    private readonly SafeFileHandle? _file;
    private readonly long[] _offsets;

    /// <summary>Makes room.</summary>
    /// <param name="lengths">Values of each chunk.</param>
    /// <param name="memoryBytes">The budget.</param>
    public StateStore(IEnumerable<int> lengths, long memoryBytes)
    {
        List<long> offsets = [0];
        foreach (int length in lengths)
            offsets.Add(offsets[^1] + length);
        _offsets = [.. offsets];
        long bytes = sizeof(float) * _offsets[^1];
        if (bytes <= memoryBytes)
        {
            _memory = new NativeBuffer(bytes, isZeroed: false);
            return;
        }

        string folder = Path.GetTempPath();
        long free = new DriveInfo(folder).AvailableFreeSpace;
        if (bytes > free) throw new IOException($"the states of {_offsets.Length - 1} chunks between two layers need {bytes:N0} bytes; {free:N0} are free in the folder of temporary files. Use fewer chunks (--chunks).");
        _file = File.OpenHandle(Path.Combine(folder, $"nibble-states-{Guid.NewGuid():N}"), FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None, FileOptions.DeleteOnClose);
    }

    /// <summary>Whether the states lie in a file.</summary>
    public bool IsOnDisk => _file is not null;

    /// <summary>Reads a chunk's states.</summary>
    /// <param name="chunk">The chunk.</param>
    /// <param name="states">[values], overwritten.</param>
    public void Read(int chunk, Span<float> states)
    {
        if (_memory is not null)
        {
            _memory.Span<float>(_offsets[chunk], states.Length).CopyTo(states);
            return;
        }

        Span<byte> bytes = MemoryMarshal.AsBytes(states);
        for (int done = 0; done < bytes.Length;)
        {
            int read = RandomAccess.Read(_file!, bytes[done..], (sizeof(float) * _offsets[chunk]) + done);
            if (read == 0) throw new IOException($"the file of states ends inside chunk {chunk}.");
            done += read;
        }
    }

    /// <summary>Keeps a chunk's states.</summary>
    /// <param name="chunk">The chunk.</param>
    /// <param name="states">[values].</param>
    public void Write(int chunk, ReadOnlySpan<float> states)
    {
        if (_memory is not null) states.CopyTo(_memory.Span<float>(_offsets[chunk], states.Length));
        else RandomAccess.Write(_file!, MemoryMarshal.AsBytes(states), sizeof(float) * _offsets[chunk]);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _memory?.Dispose();
        _file?.Dispose();
    }
}
