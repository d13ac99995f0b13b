using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Nibble.Core.Gguf;
using Nibble.Cpu.Caching;

namespace Nibble.Cpu;

/// <summary>The file of packed weights that lies beside a model (see <see cref="CpuOptions.CacheWeights"/>), as it looks before the model is loaded.</summary>
public sealed record WeightCacheStatus
{
    private WeightCacheStatus()
    {
    }

    /// <summary>The file.</summary>
    public required string Path { get; init; }

    /// <summary>Bytes of the file; 0 where it cannot be looked at.</summary>
    public required long Bytes { get; init; }

    /// <summary>Why it does not fit the model, so that the next load would write it anew; null where it fits. The weights themselves are compared at load.</summary>
    public required string? Problem { get; init; }

    /// <summary>Looks at the file beside a model.</summary>
    /// <param name="model">The model.</param>
    /// <returns>What it is, or null where there is none.</returns>
    public static WeightCacheStatus? Of(GgufFile model)
    {
        ArgumentNullException.ThrowIfNull(model);
        string path = PackedFile.PathOf(model);
        PackedFile? packed = PackedFile.Open(path, out string? problem);
        if (packed is null) return problem is null ? null : new WeightCacheStatus { Path = path, Bytes = File.Exists(path) ? new FileInfo(path).Length : 0, Problem = problem };
        try
        {
            foreach (PackedEntry entry in packed.Entries)
                problem ??= Compare(model.Find(entry.Name), entry);
            return new WeightCacheStatus { Path = path, Bytes = packed.Length, Problem = problem };
        }
        finally
        {
            packed.Release();
        }
    }

    private static unsafe string? Compare(GgufTensor? tensor, PackedEntry entry)
    {
        // Layers may see the rows of a tensor as another shape.
        if (tensor is null || tensor.Format.Name != entry.Format || tensor.RowCount * tensor.Columns != (long)entry.Columns * entry.Rows * entry.Matrices)
            return $"the model has no '{entry.Name}' of its format and shape";
        return PackedEntry.EndsOf((byte*)Unsafe.AsPointer(ref MemoryMarshal.GetReference(tensor.Row(0))), tensor.ByteLength) == entry.Ends
            ? null
            : $"the model's '{entry.Name}' has changed since it was written";
    }
}
