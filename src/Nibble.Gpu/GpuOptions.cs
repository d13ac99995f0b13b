namespace Nibble.Gpu;

/// <summary>How a <see cref="GpuBackend"/> computes. What is left out follows from the device.</summary>
public sealed record GpuOptions
{
    /// <summary>Rows of a matrix that a work-item has, 4, 8 or 16; 0 for the device's own choice.</summary>
    public int RowVector { get; init; }

    /// <summary>Work-items that share the columns of a row, 1 to 16; 0 for the device's own choice.</summary>
    public int ColumnSplit { get; init; }

    /// <summary>Tokens from which on products go through local memory, in tiles of 64 rows and 64 tokens, those of experts, too; 0 for the device's own choice, which is never on a processor.</summary>
    public int TiledTokens { get; init; }

    /// <summary>Parts into which attention cuts a context, 1 to 64; 0 for the device's own choice.</summary>
    public int AttentionParts { get; init; }

    /// <summary>Bytes of a buffer at most, below the device's own limit; larger matrices are cut. 0 for the device's own limit.</summary>
    public long MaxBufferBytes { get; init; }

    /// <summary>Which of the device's features kernels use; null for what the environment (<see cref="GpuFeatureNames.Variable"/>) or else the device chooses.</summary>
    public GpuFeatures? Features { get; init; }

    /// <summary>Whether activations stay in float32, for parity with references: packed products and half arithmetic are left out then.</summary>
    public bool IsExact { get; init; }

    /// <summary>Whether features are replaced by code that every device runs, so that tests run what they are used for on a device that lacks them. Slower.</summary>
    internal bool EmulatesFeatures { get; init; }

    /// <summary>Whether built programs are kept on disk.</summary>
    public bool CachePrograms { get; init; } = true;
}
