using Nibble.Gpu.Drivers;
using Nibble.Gpu.Drivers.OpenCL;

namespace Nibble.Gpu;

/// <summary>The devices that OpenCL drivers of this machine have.</summary>
public static class GpuDevices
{
    /// <summary>Lists the devices of OpenCL.</summary>
    /// <param name="problem">Why there are none, in one line; null where there are some.</param>
    public static IReadOnlyList<GpuDeviceInfo> OpenCl(out string? problem) => [.. OpenClDevices.All(out problem).Select(entry => entry.Info)];

    /// <summary>Opens a device.</summary>
    /// <param name="index">Its number in <see cref="OpenCl"/>.</param>
    /// <param name="options">How.</param>
    /// <exception cref="GpuException">There is no such device, or it cannot be used.</exception>
    internal static GpuDevice OpenOpenCl(int index, GpuOptions options)
    {
        List<OpenClDevices.Entry> entries = OpenClDevices.All(out string? problem);
        if (problem is not null) throw new GpuException($"there is no OpenCL device: {problem}.");
        if ((uint)index >= (uint)entries.Count)
            throw new GpuException($"there is no OpenCL device {index}; there are 0 to {entries.Count - 1} ('nibble devices' lists them).");
        return new OpenClDevice(entries[index], options.CachePrograms ? ProgramCache.Default() : null, options.MaxBufferBytes);
    }
}
