using System.Text;

namespace Nibble.Gpu.Drivers.OpenCL;

/// <summary>The devices that OpenCL's loader knows.</summary>
internal static unsafe class OpenClDevices
{
    private static readonly Lock s_lock = new();

    /// <summary>A device with its handles.</summary>
    /// <param name="Platform">cl_platform_id.</param>
    /// <param name="Device">cl_device_id.</param>
    /// <param name="Info">What it says of itself.</param>
    public readonly record struct Entry(nint Platform, nint Device, GpuDeviceInfo Info);

    /// <summary>All devices, platform by platform.</summary>
    /// <param name="problem">Why there are none, or null.</param>
    public static List<Entry> All(out string? problem)
    {
        // Drivers find their devices when they are first asked; PoCL 3.1 tells a second thread meanwhile that there are none.
        lock (s_lock)
            return AllOf(out problem);
    }

    private static List<Entry> AllOf(out string? problem)
    {
        List<Entry> entries = [];
        if (!OpenClLibrary.TryLoad(out problem)) return entries;
        uint count = 0;
        int error = OpenClApi.GetPlatformIDs(0, null, &count);
        if (error != OpenClApi.Success || count == 0)
        {
            problem = error is OpenClApi.Success or OpenClApi.PlatformNotFound ? "the OpenCL library knows no platform; no driver is installed" : $"clGetPlatformIDs failed with {OpenClError.Name(error)}";
            return entries;
        }

        nint[] platforms = new nint[count];
        fixed (nint* pointer = platforms)
            error = OpenClApi.GetPlatformIDs(count, pointer, null);
        if (error != OpenClApi.Success)
        {
            problem = $"clGetPlatformIDs failed with {OpenClError.Name(error)}";
            return entries;
        }

        foreach (nint platform in platforms)
        {
            uint devices = 0;
            if (OpenClApi.GetDeviceIDs(platform, OpenClApi.DeviceTypeAll, 0, null, &devices) != OpenClApi.Success || devices == 0) continue;
            nint[] ids = new nint[devices];
            fixed (nint* pointer = ids)
                error = OpenClApi.GetDeviceIDs(platform, OpenClApi.DeviceTypeAll, devices, pointer, null);
            // One driver that fails leaves those of the others.
            if (error != OpenClApi.Success) continue;
            foreach (nint id in ids)
                entries.Add(new Entry(platform, id, Describe(platform, id, entries.Count)));
        }

        if (entries.Count == 0) problem = "the OpenCL library knows no device";
        return entries;
    }

    private static GpuDeviceInfo Describe(nint platform, nint device, int index)
    {
        string version = Text(device, OpenClApi.DeviceVersion), language = Text(device, OpenClApi.DeviceLanguageVersion), extensions = Text(device, OpenClApi.DeviceExtensions);
        return new GpuDeviceInfo
        {
            Driver = "opencl",
            Index = index,
            Name = Text(device, OpenClApi.DeviceName),
            Platform = $"{PlatformText(platform, OpenClApi.PlatformName)}, {PlatformText(platform, OpenClApi.PlatformVersion)}",
            DriverVersion = Text(device, OpenClApi.DriverVersion),
            LanguageVersion = language,
            IsProcessor = ((ulong)Number(device, OpenClApi.DeviceType) & OpenClApi.DeviceTypeCpu) != 0,
            MemoryBytes = Number(device, OpenClApi.DeviceGlobalMemSize),
            MaxBufferBytes = Number(device, OpenClApi.DeviceMaxMemAllocSize),
            LocalBytes = Number(device, OpenClApi.DeviceLocalMemSize),
            CacheBytes = Number(device, OpenClApi.DeviceMemCacheSize),
            MaxGroupItems = (int)Math.Min(int.MaxValue, Number(device, OpenClApi.DeviceMaxWorkGroupSize)),
            ComputeUnits = (int)Math.Max(1, Number(device, OpenClApi.DeviceMaxComputeUnits)),
            Extensions = extensions,
            NewestLanguage = Major(version) switch { >= 3 => "CL3.0", 2 => "CL2.0", _ => "CL1.2" },
            Features = FeaturesOf(device, version, extensions),
            Problem =
                Number(device, OpenClApi.DeviceAvailable) == 0 ? "it is not available (CL_DEVICE_AVAILABLE)"
                : Number(device, OpenClApi.DeviceCompilerAvailable) == 0 ? "it has no compiler (CL_DEVICE_COMPILER_AVAILABLE)"
                : Number(device, OpenClApi.DeviceEndianLittle) == 0 ? "it stores numbers with the high byte first, and weights are made the other way"
                : IsOlder(version) ? $"it has {version}; OpenCL 1.2 or newer is needed"
                : null,
        };
    }

    private static GpuFeatures FeaturesOf(nint device, string version, string extensions)
    {
        HashSet<string> known = [.. extensions.Split(' ')];
        int major = Major(version);
        GpuFeatures features = GpuFeatures.None;

        // OpenCL 3.0 has them where there can be any; before, it takes an extension, Khronos' with OpenCL C 2.0.
        if ((major >= 3 && Number(device, OpenClApi.DeviceMaxSubGroups) > 0) || (major == 2 && known.Contains("cl_khr_subgroups")) || (major < 3 && known.Contains("cl_intel_subgroups"))) features |= GpuFeatures.SubGroups;

        // The functions are those of OpenCL C 3.0.
        if (major >= 3 && known.Contains("cl_khr_integer_dot_product") && (Number(device, OpenClApi.DevicePackedDot) & 1) != 0) features |= GpuFeatures.PackedDot;
        if (known.Contains("cl_khr_fp16")) features |= GpuFeatures.Half;
        return features;
    }

    // "OpenCL 3.0 vendor's own text"
    private static int Major(string version) => version.Split(' ') is [_, var number, ..] && int.TryParse(number.Split('.')[0], out int major) ? major : 1;

    // "OpenCL 1.2 vendor's own text"
    private static bool IsOlder(string version) => version.Split(' ') is [_, var number, ..] && number is "1.0" or "1.1";

    private static string Text(nint device, uint name)
    {
        nuint size = 0;
        if (OpenClApi.GetDeviceInfo(device, name, 0, null, &size) != OpenClApi.Success) return "unknown";
        byte[] bytes = new byte[size];
        fixed (byte* pointer = bytes)
            return OpenClApi.GetDeviceInfo(device, name, size, pointer, null) == OpenClApi.Success ? Encoding.UTF8.GetString(bytes).TrimEnd('\0').Trim() : "unknown";
    }

    private static string PlatformText(nint platform, uint name)
    {
        nuint size = 0;
        if (OpenClApi.GetPlatformInfo(platform, name, 0, null, &size) != OpenClApi.Success) return "unknown";
        byte[] bytes = new byte[size];
        fixed (byte* pointer = bytes)
            return OpenClApi.GetPlatformInfo(platform, name, size, pointer, null) == OpenClApi.Success ? Encoding.UTF8.GetString(bytes).TrimEnd('\0').Trim() : "unknown";
    }

    // Numbers of 4 bytes leave the upper half 0: devices are little-endian, or refused, and hosts of .NET are.
    private static long Number(nint device, uint name)
    {
        long value = 0;
        return OpenClApi.GetDeviceInfo(device, name, 8, &value, null) == OpenClApi.Success ? value : 0;
    }
}
