using System.Collections.Immutable;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;
using Nibble.Cpu.Kernels;

namespace Nibble.Cpu;

/// <summary>One way through the CPU kernels: the instructions that they use.</summary>
public sealed class CpuPath
{
    private readonly Func<CpuKernels> _kernels;

    internal CpuPath(string name, string needs, string does, bool isSupported, Func<CpuKernels> kernels)
    {
        Name = name;
        Needs = needs;
        Does = does;
        IsSupported = isSupported;
        _kernels = kernels;
    }

    /// <summary>The name in <see cref="CpuOptions.Path"/>.</summary>
    public string Name { get; }

    /// <summary>What the processor and the runtime must have.</summary>
    public string Needs { get; }

    /// <summary>How it computes, in a few words.</summary>
    public string Does { get; }

    /// <summary>Whether it runs here.</summary>
    public bool IsSupported { get; }

    /// <summary>Why it can be used here or not.</summary>
    public string Reason => IsSupported ? $"has {Needs}" : $"needs {Needs}, which this processor or its runtime settings do not offer";

    internal CpuKernels NewKernels() => _kernels();
}

/// <summary>The table of instruction paths.</summary>
public static class CpuPaths
{
    /// <summary>Every path, best first.</summary>
    public static ImmutableArray<CpuPath> All { get; } =
    [
        // 512-bit vectors come first also where AVX-VNNI is there: twice the float32 lanes, and pair products of 512 bits do as much an instruction as four products of 256 bits.
        new("avx512", "AVX-512BW at full width", "512-bit float32 and 8-bit pair products",
            Avx512BW.IsSupported && Vector512.IsHardwareAccelerated, static () => new CpuKernels<Lanes512, Vector512<float>>()),
        new("avxvnni", "AVX-VNNI, AVX2 and FMA", "256-bit float32, 8-bit dot products",
            AvxVnni.IsSupported && Avx2.IsSupported && Fma.IsSupported, static () => new CpuKernels<Lanes256, Vector256<float>>()),
        new("avx2", "AVX2 and FMA", "256-bit float32, 8-bit pair products",
            Avx2.IsSupported && Fma.IsSupported, static () => new CpuKernels<Lanes256, Vector256<float>>()),
        new("neon", "Arm64 AdvSimd with dot products", "128-bit float32, 8-bit dot products",
            AdvSimd.Arm64.IsSupported && Dp.IsSupported, static () => new CpuKernels<Lanes128, Vector128<float>>()),
        new("vector128", "128-bit vectors, in hardware or emulated", "128-bit float32, 16-bit products",
            true, static () => new CpuKernels<Lanes128, Vector128<float>>()),
    ];

    /// <summary>The path of a name that runs here; the best one when no name is given.</summary>
    /// <param name="name">A name of <see cref="All"/>, or null.</param>
    /// <exception cref="ArgumentException">There is no such path, or it does not run here.</exception>
    public static CpuPath Choose(string? name)
    {
        foreach (CpuPath path in All)
            if (path.IsSupported && (name is null || string.Equals(path.Name, name, StringComparison.OrdinalIgnoreCase))) return path;
        string known = string.Join(", ", All.Where(p => p.IsSupported).Select(p => p.Name));
        CpuPath? unsupported = All.FirstOrDefault(p => string.Equals(p.Name, name, StringComparison.OrdinalIgnoreCase));
        throw new ArgumentException(
            unsupported is null ? $"there is no CPU path '{name}'; here run {known}." : $"the CPU path {unsupported.Name} {unsupported.Reason}; here run {known}.", nameof(name));
    }
}
