namespace Nibble.Cpu;

/// <summary>How a <see cref="CpuBackend"/> computes.</summary>
public sealed record CpuOptions
{
    /// <summary>Threads, the calling one included; 0 takes one for each physical core that the process may use. Results do not depend on it.</summary>
    public int Threads { get; init; }

    /// <summary>Whether products use float32 activations and decoded weights instead of 8-bit integers, and attention float32 instead of integers of 12 to 14 bits.</summary>
    public bool Exact { get; init; }

    /// <summary>The name of the instruction path to use, one of <see cref="CpuPaths.All"/>; null takes the first that this processor supports.</summary>
    public string? Path { get; init; }

    /// <summary>
    /// Whether packed weights are kept in a file beside the model (<c>MODEL.gguf.packed</c>, about as large as the model): the first load writes it, later ones map it instead of packing. One that does
    /// not fit the model, or is damaged, is written anew. Not together with <see cref="Exact"/>, which packs nothing.
    /// </summary>
    public bool CacheWeights { get; init; }
}
