using System.Collections.Immutable;
using System.Globalization;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Cpu;
using Nibble.Gpu;
using Nibble.Llm.Models;

namespace Nibble;

/// <summary>How a device is opened.</summary>
public sealed record DeviceOptions
{
    /// <summary>Threads of the CPU backend; 0 for one a core.</summary>
    public int Threads { get; init; }

    /// <summary>The CPU instruction path to force, or null for the best; for the layers that the CPU has.</summary>
    public string? CpuPath { get; init; }

    /// <summary>Whether activations stay in float32, for parity with references.</summary>
    public bool IsExact { get; init; }

    /// <summary>Whether the CPU backend keeps packed weights in a file beside the model, to map them at later loads; see <see cref="CpuOptions.CacheWeights"/>. Beside a GPU they are those of the CPU's layers.</summary>
    public bool CacheWeights { get; init; }

    /// <summary>Layers that a GPU takes, the last ones of the model, the output counted as one more after them; null for as many as fit. See <see cref="ModelPlacement"/>.</summary>
    public int? GpuLayers { get; init; }
}

/// <summary>A device of this machine, as <c>nibble devices</c> lists it.</summary>
/// <param name="Name">The name for <c>--device</c>.</param>
/// <param name="IsUsable">Whether it can be opened.</param>
/// <param name="Description">What it is, or why it cannot be used.</param>
public sealed record DeviceInfo(string Name, bool IsUsable, string Description)
{
    /// <summary>What a device of OpenCL has beyond OpenCL C 1.2; see <see cref="GpuFeatures"/>.</summary>
    public GpuFeatures Features { get; init; }

    /// <summary>What of it is used: what the environment (<see cref="GpuFeatureNames.Variable"/>) or else the device chooses.</summary>
    public GpuFeatures UsedFeatures { get; init; }
}

/// <summary>The devices that a model can run on. The only place that knows which backends exist.</summary>
public static class Devices
{
    private static readonly ImmutableArray<(string Name, string Description, Func<DeviceOptions, Backend> Open)> Table =
    [
        ("cpu", "managed SIMD kernels on the processor", options => new CpuBackend(new CpuOptions { Threads = options.Threads, Exact = options.IsExact, Path = options.CpuPath, CacheWeights = options.CacheWeights })),
        ("reference", "plain float32 loops, the oracle of the tests", _ => new ReferenceBackend()),
    ];

    /// <summary>Every device that is here or could be, the one that <c>auto</c> takes first. Those of OpenCL are asked for anew each time.</summary>
    public static ImmutableArray<DeviceInfo> All
    {
        get
        {
            IReadOnlyList<GpuDeviceInfo> known = GpuDevices.OpenCl(out string? problem);
            IEnumerable<DeviceInfo> openCl = known.Count == 0
                ? [new DeviceInfo("opencl", false, problem!)]
                : known.Select(OpenClInfo);
            string? first = FirstGpu(known)?.DeviceName;
            return
            [
                .. openCl.Where(device => device.Name == first),
                .. Table.Select(row => new DeviceInfo(row.Name, true, row.Description)),
                .. openCl.Where(device => device.Name != first),
                new DeviceInfo("cuda", false, "this version has no CUDA backend"),
            ];
        }
    }

    /// <summary>The device that <c>auto</c> takes: the first of OpenCL's that can be used and is not the processor itself, else the CPU.</summary>
    /// <param name="reason">Why, in one line.</param>
    public static string Auto(out string reason)
    {
        IReadOnlyList<GpuDeviceInfo> known = GpuDevices.OpenCl(out string? problem);
        if (FirstGpu(known) is { } device)
        {
            reason = $"{device.Name} is the first GPU that can be used";
            return device.DeviceName;
        }

        reason = known.Count == 0 ? problem! : string.Join("; ", known.Select(device => $"{device.DeviceName} {device.Problem ?? "computes on a processor, which has faster kernels of its own here"}"));
        return Table[0].Name;
    }

    /// <summary>Opens a device as a whole, whatever will run on it.</summary>
    /// <param name="name"><c>auto</c>, or a name of <see cref="All"/>; <c>opencl</c> is the first of OpenCL's.</param>
    /// <param name="options">How.</param>
    /// <exception cref="ArgumentException">There is no such device, or it cannot be used so.</exception>
    /// <exception cref="GpuException">A driver refuses.</exception>
    public static Backend Open(string name, DeviceOptions? options = null)
    {
        (string chosen, options) = Checked(name, options);
        if (!IsGpu(chosen)) return OpenKnown(chosen, name, options);
        if (options.GpuLayers is { } layers)
            throw new ArgumentException($"{layers} layers were asked for on a GPU (--gpu-layers), but which ones they are depends on a model: open the device with {nameof(OpenFor)}.", nameof(options));
        if (UnusedByGpu(options) is { } unused)
            throw new ArgumentException($"device '{chosen}' computes with threads, kernels and memory of its own, so that {unused} has no meaning; leave it out, or name the processor with --device cpu.", nameof(options));
        return OpenOpenCl(chosen, options);
    }

    /// <summary>Opens a device for a model. A GPU takes the layers that <see cref="DeviceOptions.GpuLayers"/> asks for, or as many as fit into its memory; the CPU runs the others.</summary>
    /// <param name="file">The model's file.</param>
    /// <param name="name">As <see cref="Open"/> takes it.</param>
    /// <param name="options">How.</param>
    /// <param name="context">Positions of a session, or null for those that one has by itself.</param>
    /// <param name="kvFormat">Format of keys and values.</param>
    /// <param name="batchTokens">Tokens that are evaluated together at most.</param>
    /// <param name="placement">What the GPU takes; null where no GPU was chosen.</param>
    /// <exception cref="ArgumentException">There is no such device, or it cannot be used so.</exception>
    /// <exception cref="GgufException">The file cannot be run.</exception>
    /// <exception cref="GpuException">A driver refuses.</exception>
    /// <exception cref="InsufficientMemoryException">The layers that were asked for do not fit.</exception>
    public static Backend OpenFor(GgufFile file, string name, DeviceOptions? options, int? context, BlockFormat kvFormat, int batchTokens, out ModelPlacement? placement)
    {
        ArgumentNullException.ThrowIfNull(file);
        placement = null;
        (string chosen, options) = Checked(name, options);
        if (!IsGpu(chosen)) return OpenKnown(chosen, name, options);
        GpuBackend device = OpenOpenCl(chosen, options);
        bool isKept = false;
        try
        {
            placement = ModelPlacement.Plan(file, device, new PlacementOptions { DeviceLayers = options.GpuLayers, Context = context, KvFormat = kvFormat, BatchTokens = batchTokens });
            if (placement.IsWhole)
            {
                // Threads are a bound for whatever device auto takes; Model tells that it has no effect.
                if (UnusedByGpu(name == "auto" ? options with { Threads = 0 } : options) is { } unused)
                    throw new ArgumentException($"device '{name}' takes the whole model and the CPU no layer, so that {unused} has no meaning; leave it out, or leave layers to the CPU with --gpu-layers.", nameof(options));
                isKept = true;
                return device;
            }

            Backend host = OpenHost(options);
            isKept = !placement.IsNone;
            return isKept ? new SplitBackend(device, host, placement.Split) : host;
        }
        finally
        {
            if (!isKept) device.Dispose();
        }
    }

    /// <summary>What a second model runs on, beside one that is loaded: the same devices, of a GPU what is left of its memory.</summary>
    /// <param name="file">The second model's file.</param>
    /// <param name="loaded">What the first one runs on; it outlives the second.</param>
    /// <param name="options">How the first one was loaded; context and format of keys and values are for both.</param>
    /// <param name="placement">What the GPU takes of the second model; null where the first is on none.</param>
    /// <param name="isShared">Whether the backend is the first model's, and is not disposed of with the second.</param>
    /// <exception cref="GgufException">The file cannot be run.</exception>
    /// <exception cref="InsufficientMemoryException">The layers that were asked for do not fit.</exception>
    internal static Backend OpenBeside(GgufFile file, Backend loaded, LoadOptions options, out ModelPlacement? placement, out bool isShared)
    {
        SplitBackend? split = loaded as SplitBackend;
        placement = null;
        isShared = true;
        if ((split?.Device ?? loaded) is not GpuBackend device) return loaded;
        placement = ModelPlacement.Plan(file, device, new PlacementOptions { DeviceLayers = options.DeviceOptions.GpuLayers, Context = options.Context, KvFormat = options.KvFormat, BatchTokens = options.BatchTokens });
        if (placement.IsWhole) return device;
        isShared = placement.IsNone && split is not null;
        Backend host = split?.Host ?? OpenHost(options.DeviceOptions);
        return placement.IsNone ? host : new SplitBackend(device, host, placement.Split, ownsDevice: false, ownsHost: split is null);
    }

    // The device's name where auto was asked for, and options that suit it.
    private static (string Name, DeviceOptions Options) Checked(string name, DeviceOptions? options)
    {
        ArgumentNullException.ThrowIfNull(name);
        options ??= new DeviceOptions();
        if (options.GpuLayers is < 0)
            throw new ArgumentException($"{options.GpuLayers} layers were asked for on a GPU (--gpu-layers); it must be 0 or more.", nameof(options));
        // What only the CPU has asks for the CPU, where no layers were asked for on a GPU.
        bool asksForCpu = options.GpuLayers == 0 || (options.GpuLayers is null && (options.CpuPath is not null || options.CacheWeights));
        string chosen = name != "auto" ? name : asksForCpu ? Table[0].Name : Auto(out _);
        string kind = chosen.Split(':')[0];
        if (kind == "reference" && options.CpuPath is not null)
            throw new ArgumentException($"device '{name}' runs plain loops and takes no CPU path; leave out --cpu-path.", nameof(options));
        if (kind == "reference" && options.CacheWeights)
            throw new ArgumentException($"device '{name}' uses weights as the file has them, so there are no packed ones to keep; leave out --cache-weights.", nameof(options));
        if (options.GpuLayers > 0 && kind is "cpu" or "reference")
        {
            Auto(out string reason);
            throw new ArgumentException(
                $"{options.GpuLayers} layers were asked for on a GPU (--gpu-layers), but {(name == "auto" ? $"there is none to choose: {reason}" : $"device '{name}' is none")}. Leave the option out, or name a device of OpenCL with --device ('nibble devices' lists them).",
                nameof(options));
        }

        return (chosen, options);
    }

    // An option that only the CPU's layers have a use for, or null.
    private static string? UnusedByGpu(DeviceOptions options) =>
        options.Threads != 0 ? "--threads" : options.CpuPath is not null ? "--cpu-path" : options.CacheWeights ? "--cache-weights" : null;

    private static Backend OpenHost(DeviceOptions options) => OpenKnown(Table[0].Name, Table[0].Name, options with { GpuLayers = null });

    private static DeviceInfo OpenClInfo(GpuDeviceInfo device)
    {
        string? problem = device.Problem;
        GpuFeatures used = GpuFeatures.None;
        try
        {
            used = device.UsedFeatures;
        }
        catch (GpuException error)
        {
            problem ??= error.Message;
        }

        string text = $"{device}; features: {GpuFeatureNames.Line(device.Features)}, used: {GpuFeatureNames.Line(used)}";
        return new DeviceInfo(device.DeviceName, problem is null, problem is null ? text : $"{device}; {problem}") { Features = device.Features, UsedFeatures = used };
    }

    private static bool IsGpu(string name) => name.Split(':')[0] == "opencl";

    private static GpuDeviceInfo? FirstGpu(IReadOnlyList<GpuDeviceInfo> known) => known.FirstOrDefault(device => device.Problem is null && !device.IsProcessor);

    private static Backend OpenKnown(string chosen, string name, DeviceOptions options)
    {
        foreach ((string known, _, Func<DeviceOptions, Backend> open) in Table)
            if (known == chosen) return open(options);
        foreach (DeviceInfo device in All)
            if (device.Name == chosen.Split(':')[0] && !device.IsUsable)
                throw new ArgumentException($"device '{name}' cannot be used: {device.Description}. Usable: {Usable()}.", nameof(name));
        throw new ArgumentException($"there is no device '{name}'. Usable: {Usable()}.", nameof(name));
    }

    private static string Usable() => string.Join(", ", All.Where(device => device.IsUsable).Select(device => device.Name).Prepend("auto"));

    private static GpuBackend OpenOpenCl(string name, DeviceOptions options)
    {
        string number = name.Length > "opencl".Length ? name["opencl:".Length..] : "0";
        if (!int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out int index) || All.FirstOrDefault(device => device.Name == $"opencl:{index}") is not { } device)
        {
            DeviceInfo? none = All.FirstOrDefault(known => known.Name == "opencl");
            throw new ArgumentException(none is null ? $"there is no device '{name}'. Usable: {Usable()}." : $"device '{name}' cannot be used: {none.Description}. Usable: {Usable()}.", nameof(name));
        }

        if (!device.IsUsable) throw new ArgumentException($"device '{name}' cannot be used: {device.Description}. Usable: {Usable()}.", nameof(name));
        return new GpuBackend(index, new GpuOptions { IsExact = options.IsExact });
    }
}
