namespace Nibble.Gpu;

/// <summary>A device as its driver describes it.</summary>
public sealed record GpuDeviceInfo
{
    /// <summary>The driver: <c>opencl</c>.</summary>
    public required string Driver { get; init; }

    /// <summary>Its number among the driver's devices, as in <c>--device opencl:1</c>.</summary>
    public required int Index { get; init; }

    /// <summary>The device's name.</summary>
    public required string Name { get; init; }

    /// <summary>The platform that it belongs to, with its version.</summary>
    public required string Platform { get; init; }

    /// <summary>The driver's version.</summary>
    public required string DriverVersion { get; init; }

    /// <summary>The newest version of the kernel language that it compiles.</summary>
    public required string LanguageVersion { get; init; }

    /// <summary>The newest language as its compiler's option <c>-cl-std</c> names it.</summary>
    public string NewestLanguage { get; init; } = "CL1.2";

    /// <summary>Whether it is a processor, not a graphics card: work-items then run one after the other, and vectors are explicit.</summary>
    public required bool IsProcessor { get; init; }

    /// <summary>Bytes of its memory.</summary>
    public required long MemoryBytes { get; init; }

    /// <summary>Bytes that one buffer can have.</summary>
    public required long MaxBufferBytes { get; init; }

    /// <summary>Bytes of local memory of a work-group.</summary>
    public required long LocalBytes { get; init; }

    /// <summary>Bytes of the cache of its memory; 0 where it has none or does not tell.</summary>
    public required long CacheBytes { get; init; }

    /// <summary>Work-items of a work-group at most.</summary>
    public required int MaxGroupItems { get; init; }

    /// <summary>Compute units.</summary>
    public required int ComputeUnits { get; init; }

    /// <summary>Extensions, separated by spaces.</summary>
    public required string Extensions { get; init; }

    /// <summary>What it has beyond OpenCL C 1.2, of what there are kernels for.</summary>
    public GpuFeatures Features { get; init; }

    /// <summary>What is used where nobody asks for anything: on a graphics card sub-groups and half arithmetic, on a processor, on which items run one after the other, none. Packed products round activations more than results stay the same by.</summary>
    public GpuFeatures DefaultFeatures => IsProcessor ? GpuFeatures.None : Features & (GpuFeatures.SubGroups | GpuFeatures.Half);

    /// <summary>What a backend uses when it is opened now: as <see cref="GpuFeatureNames.Variable"/> says, else <see cref="DefaultFeatures"/>.</summary>
    /// <exception cref="GpuException">The variable is no list of features, or names one that the device lacks.</exception>
    public GpuFeatures UsedFeatures => GpuFeatureNames.Chosen(this, null, Environment.GetEnvironmentVariable(GpuFeatureNames.Variable));

    /// <summary>Why it cannot be used, or null.</summary>
    public string? Problem { get; init; }

    /// <summary>The name for <c>--device</c>.</summary>
    public string DeviceName => $"{Driver}:{Index}";

    /// <summary>The device and its limits in a line.</summary>
    public override string ToString() => string.Create(
        System.Globalization.CultureInfo.InvariantCulture,
        $"{Name} ({Platform}, driver {DriverVersion}, {LanguageVersion}): {MemoryBytes / 1e9:F1} GB, buffers of {MaxBufferBytes / 1e9:F1} GB, {ComputeUnits} compute units, groups of {MaxGroupItems}, {LocalBytes / 1024} KiB local");
}
