namespace Nibble.Cpu;

/// <summary>How a <see cref="CpuBackend"/> computes.</summary>
public sealed record CpuOptions
{
    /// <summary>Threads, the calling one included; 0 takes one for each physical core that the process may use. Results do not depend on it.</summary>
    public int Threads { get; init; }

    /// <summary>Whether products use float32 activations and decoded weights instead of 8-bit integers.</summary>
    public bool Exact { get; init; }

    /// <summary>The name of the instruction path to use, one of <see cref="CpuPaths.All"/>; null takes the first that this processor supports.</summary>
    public string? Path { get; init; }
}
