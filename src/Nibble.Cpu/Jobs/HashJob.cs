using System.Runtime.InteropServices;
using Nibble.Cpu.Caching;
using Nibble.Cpu.Threading;

namespace Nibble.Cpu.Jobs;

/// <summary>Hashes memory, a chunk a unit. The hash does not depend on who hashed what.</summary>
internal sealed unsafe class HashJob : UnitJob
{
    private const int ChunkBytes = 1 << 20;

    private byte* _data;
    private long _length;
    private ulong[] _hashes = [];

    /// <summary>The hash of all chunks' hashes, after the run.</summary>
    public ulong Hash => Xxh64.Hash(MemoryMarshal.AsBytes(_hashes.AsSpan(0, Units)), (ulong)_length);

    /// <summary>Sets what to hash.</summary>
    /// <param name="data">The first byte.</param>
    /// <param name="length">Bytes.</param>
    public void Prepare(byte* data, long length)
    {
        _data = data;
        _length = length;
        Units = checked((int)((length + ChunkBytes - 1) / ChunkBytes));
        if (_hashes.Length < Units) _hashes = new ulong[Units];
    }

    protected override void Unit(int unit, int thread)
    {
        long start = (long)unit * ChunkBytes;
        _hashes[unit] = Xxh64.Hash(_data + start, Math.Min(ChunkBytes, _length - start), (ulong)unit);
    }
}
