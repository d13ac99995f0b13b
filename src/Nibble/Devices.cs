using System.Collections.Immutable;
using Nibble.Core.Compute;
using Nibble.Cpu;

namespace Nibble;

/// <summary>How a device is opened.</summary>
public sealed record DeviceOptions
{
    /// <summary>Threads of the CPU backend; 0 for one a core.</summary>
    public int Threads { get; init; }

    /// <summary>The CPU instruction path to force, or null for the best.</summary>
    public string? CpuPath { get; init; }

    /// <summary>Whether activations stay in float32, for parity with references.</summary>
    public bool IsExact { get; init; }

    /// <summary>Whether the CPU backend keeps packed weights in a file beside the model, to map them at later loads; see <see cref="CpuOptions.CacheWeights"/>.</summary>
    public bool CacheWeights { get; init; }

    /// <summary>Layers that a GPU takes, or null for as many as fit.</summary>
    public int? GpuLayers { get; init; }
}

/// <summary>A device of this machine, as <c>nibble devices</c> lists it.</summary>
/// <param name="Name">The name for <c>--device</c>.</param>
/// <param name="IsUsable">Whether it can be opened.</param>
/// <param name="Description">What it is, or why it cannot be used.</param>
public sealed record DeviceInfo(string Name, bool IsUsable, string Description);

/// <summary>The devices that a model can run on. The only place that knows which backends exist.</summary>
public static class Devices
{
    private static readonly ImmutableArray<(string Name, string Description, Func<DeviceOptions, Backend> Open)> Table =
    [
        ("cpu", "managed SIMD kernels on the processor", options => new CpuBackend(new CpuOptions { Threads = options.Threads, Exact = options.IsExact, Path = options.CpuPath, CacheWeights = options.CacheWeights })),
        ("reference", "plain float32 loops, the oracle of the tests", _ => new ReferenceBackend()),
    ];

    /// <summary>Every device, the one that <c>auto</c> takes first.</summary>
    public static ImmutableArray<DeviceInfo> All { get; } =
    [
        .. Table.Select(row => new DeviceInfo(row.Name, true, row.Description)),
        new DeviceInfo("cuda", false, "this version has no CUDA backend"),
        new DeviceInfo("opencl", false, "this version has no OpenCL backend"),
    ];

    /// <summary>Opens a device.</summary>
    /// <param name="name"><c>auto</c>, or a name of <see cref="All"/>, with <c>:index</c> for a GPU.</param>
    /// <param name="options">How.</param>
    /// <exception cref="ArgumentException">There is no such device, or it cannot be used so.</exception>
    public static Backend Open(string name, DeviceOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(name);
        options ??= new DeviceOptions();
        string kind = name == "auto" ? All[0].Name : name.Split(':')[0];
        if (options.GpuLayers is < 0)
            throw new ArgumentException($"{options.GpuLayers} layers were asked for on a GPU (--gpu-layers); it must be 0 or more.", nameof(options));
        if (kind == "reference" && options.CpuPath is not null)
            throw new ArgumentException("device 'reference' runs plain loops and takes no CPU path; leave out --cpu-path.", nameof(options));
        if (kind == "reference" && options.CacheWeights)
            throw new ArgumentException("device 'reference' uses weights as the file has them, so there are no packed ones to keep; leave out --cache-weights.", nameof(options));
        if (options.GpuLayers is > 0)
            throw new ArgumentException($"{options.GpuLayers} layers were asked for on a GPU (--gpu-layers), but this version has no GPU backend. Leave the option out, or say 0.", nameof(options));
        foreach ((string known, _, Func<DeviceOptions, Backend> open) in Table)
            if (name == "auto" ? known == kind : known == name) return open(options);
        foreach (DeviceInfo device in All)
            if (device.Name == kind && !device.IsUsable)
                throw new ArgumentException($"device '{name}' cannot be used: {device.Description}. Usable: auto, {string.Join(", ", Table.Select(row => row.Name))}.", nameof(name));
        throw new ArgumentException($"there is no device '{name}'. Usable: auto, {string.Join(", ", Table.Select(row => row.Name))}.", nameof(name));
    }
}
