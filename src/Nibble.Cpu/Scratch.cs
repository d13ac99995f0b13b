using Nibble.Core.Memory;

namespace Nibble.Cpu;

/// <summary>Native memory that grows when more is asked of it and is used again by the next operation.</summary>
internal sealed unsafe class Scratch : IDisposable
{
    private NativeBuffer _memory = new(0);

    /// <summary>The memory. What it held is lost when it grows.</summary>
    /// <param name="bytes">Bytes needed.</param>
    /// <returns>At least so many bytes, aligned to 64.</returns>
    public byte* Reserve(long bytes)
    {
        if (bytes > _memory.Length)
        {
            // The new memory first: where there is none, the old one stays usable.
            // What is worth a large page gets whole ones.
            long length = bytes + (bytes / 4);
            NativeBuffer larger = new(length < NativeBuffer.LargePage / 8 ? length : (length + NativeBuffer.LargePage - 1) / NativeBuffer.LargePage * NativeBuffer.LargePage);
            _memory.Dispose();
            _memory = larger;
        }

        return _memory.Pointer;
    }

    /// <summary>The memory as last reserved.</summary>
    public byte* Pointer => _memory.Pointer;

    /// <inheritdoc/>
    public void Dispose() => _memory.Dispose();
}
