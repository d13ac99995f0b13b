namespace Nibble.Core.Compute;

/// <summary>What became of the file beside a model in which a backend keeps weights in its own order.</summary>
public sealed record WeightCacheReport
{
    /// <summary>The file.</summary>
    public required string Path { get; init; }

    /// <summary>Bytes of weights that are used where the file has them. They are pages of the file, which all processes share and the system can drop and read again.</summary>
    public required long MappedBytes { get; init; }

    /// <summary>Bytes of the file that was written for the next load; 0 where it was left as it is.</summary>
    public required long WrittenBytes { get; init; }

    /// <summary>Why the file was not used as it was, or could not be written; null where all went well.</summary>
    public required string? Problem { get; init; }
}
