using System.Collections.Immutable;
using System.Globalization;
using Nibble.Core.Compute;
using Nibble.Cpu;
using Nibble.Gpu;

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

    /// <summary>Every device that is here or could be, the one that <c>auto</c> takes first. Those of OpenCL are asked for anew each time.</summary>
    public static ImmutableArray<DeviceInfo> All =>
    [
        .. Table.Select(row => new DeviceInfo(row.Name, true, row.Description)),
        .. OpenCl(),
        new DeviceInfo("cuda", false, "this version has no CUDA backend"),
    ];

    /// <summary>Opens a device.</summary>
    /// <param name="name"><c>auto</c>, or a name of <see cref="All"/>; <c>opencl</c> is the first of OpenCL's.</param>
    /// <param name="options">How.</param>
    /// <exception cref="ArgumentException">There is no such device, or it cannot be used so.</exception>
    /// <exception cref="GpuException">A driver refuses.</exception>
    public static Backend Open(string name, DeviceOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(name);
        options ??= new DeviceOptions();
        string kind = name == "auto" ? Table[0].Name : name.Split(':')[0];
        if (options.GpuLayers is < 0)
            throw new ArgumentException($"{options.GpuLayers} layers were asked for on a GPU (--gpu-layers); it must be 0 or more.", nameof(options));
        if (kind is "reference" or "opencl" && options.CpuPath is not null)
            throw new ArgumentException($"device '{name}' runs {(kind == "reference" ? "plain loops" : "the device's own kernels")} and takes no CPU path; leave out --cpu-path.", nameof(options));
        if (kind is "reference" or "opencl" && options.CacheWeights)
            throw new ArgumentException($"device '{name}' {(kind == "reference" ? "uses weights as the file has them" : "has weights in its own memory")}, so there are no packed ones to keep; leave out --cache-weights.", nameof(options));
        if (options.GpuLayers is { } layers && (layers > 0 || kind == "opencl"))
            throw new ArgumentException($"{layers} layers were asked for on a GPU (--gpu-layers), but this version runs a model on one device as a whole: leave the option out, and choose the device with --device.", nameof(options));
        if (kind == "opencl") return OpenOpenCl(name, options);
        foreach ((string known, _, Func<DeviceOptions, Backend> open) in Table)
            if (name == "auto" ? known == kind : known == name) return open(options);
        foreach (DeviceInfo device in All)
            if (device.Name == kind && !device.IsUsable)
                throw new ArgumentException($"device '{name}' cannot be used: {device.Description}. Usable: {Usable()}.", nameof(name));
        throw new ArgumentException($"there is no device '{name}'. Usable: {Usable()}.", nameof(name));
    }

    private static string Usable() => string.Join(", ", All.Where(device => device.IsUsable).Select(device => device.Name).Prepend("auto"));

    private static DeviceInfo[] OpenCl()
    {
        IReadOnlyList<GpuDeviceInfo> devices = GpuDevices.OpenCl(out string? problem);
        if (devices.Count == 0) return [new DeviceInfo("opencl", false, problem!)];
        return [.. devices.Select(device => new DeviceInfo(device.DeviceName, device.Problem is null, device.Problem is null ? device.ToString() : $"{device}; {device.Problem}"))];
    }

    private static GpuBackend OpenOpenCl(string name, DeviceOptions options)
    {
        string number = name.Length > "opencl".Length ? name["opencl:".Length..] : "0";
        if (!int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out int index) || All.FirstOrDefault(device => device.Name == $"opencl:{index}") is not { } device)
        {
            DeviceInfo? none = All.FirstOrDefault(known => known.Name == "opencl");
            throw new ArgumentException(none is null ? $"there is no device '{name}'. Usable: {Usable()}." : $"device '{name}' cannot be used: {none.Description}. Usable: {Usable()}.", nameof(name));
        }

        if (!device.IsUsable) throw new ArgumentException($"device '{name}' cannot be used: {device.Description}. Usable: {Usable()}.", nameof(name));
        if (options.Threads != 0) throw new ArgumentException($"device '{name}' has threads of its own; leave out --threads.", nameof(options));
        return new GpuBackend(index);
    }
}
