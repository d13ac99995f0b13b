namespace Nibble.Quantize.Gradients;

/// <summary>How a <see cref="GradientPass"/> works.</summary>
public sealed record GradientOptions
{
    /// <summary>What the random signs at the logits follow from, together with the chunk's number.</summary>
    public ulong Seed { get; init; }

    /// <summary>Groups of rows at most that a weight has a Hessian for each: as many of queries, gates and what these are multiplied with, half as many of keys, values and attention's output, one of the networks' last matrices.</summary>
    public int RowGroups { get; init; } = 4;

    /// <summary>Threads; 0 for those of <see cref="Work.Threads"/>. The results do not depend on them.</summary>
    public int Threads { get; init; }

    /// <summary>Bytes that the states of all tokens between the layers may take in memory; above, they lie in a temporary file.</summary>
    public long MemoryBytes { get; init; } = 1L << 30;
}

/// <summary>How far a gradient pass is.</summary>
/// <param name="Share">0 to 1.</param>
/// <param name="Layer">The layer that runs now; the number of layers for the output matrix.</param>
/// <param name="IsBackward">Whether gradients are computed already.</param>
public readonly record struct GradientProgress(double Share, int Layer, bool IsBackward);
