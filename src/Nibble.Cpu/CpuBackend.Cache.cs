using Nibble.Core.Compute;
using Nibble.Core.Gguf;
using Nibble.Cpu.Caching;
using Nibble.Cpu.Jobs;

namespace Nibble.Cpu;

/// <summary>Packed weights that are kept in a file: see <see cref="CpuOptions.CacheWeights"/>.</summary>
public sealed unsafe partial class CpuBackend
{
    private readonly HashJob _hash = new();
    private readonly bool _cachesWeights;
    private WeightCache? _cache;

    /// <inheritdoc/>
    public override void BeginLoad(GgufFile file)
    {
        ArgumentNullException.ThrowIfNull(file);
        using Call call = Enter();
        _cache?.Dispose();
        _cache = _cachesWeights ? new WeightCache(file, HashOf) : null;
    }

    /// <inheritdoc/>
    public override WeightCacheReport? EndLoad(bool isWhole)
    {
        using Call call = Enter();
        using WeightCache? cache = _cache;
        _cache = null;
        _arena.Close();
        return isWhole ? cache?.Finish() : null;
    }

    private ulong HashOf(nint data, long length)
    {
        _hash.Prepare((byte*)data, length);
        Start(_hash, length);
        return _hash.Hash;
    }
}
