using System.Reflection;
using System.Runtime.InteropServices;

namespace Nibble.Gpu.Drivers.OpenCL;

/// <summary>The ICD loader, which leads to the drivers of all vendors. It is looked for when it is first asked for, and its absence is no error.</summary>
internal static class OpenClLibrary
{
    /// <summary>The environment variable that names another library.</summary>
    public const string Variable = "NIBBLE_OPENCL_LIBRARY";

    private static readonly Lock s_lock = new();
    private static (nint Handle, string? Problem)? s_found;

    /// <summary>Names under which systems have the loader.</summary>
    public static string[] Names =>
        OperatingSystem.IsWindows() ? ["OpenCL.dll"]
        : OperatingSystem.IsMacOS() ? ["/System/Library/Frameworks/OpenCL.framework/OpenCL"]
        : ["libOpenCL.so.1", "libOpenCL.so"];

    /// <summary>Finds the library, once a process.</summary>
    /// <param name="problem">Why there is none, or null.</param>
    public static bool TryLoad(out string? problem)
    {
        lock (s_lock)
        {
            if (s_found is null)
            {
                s_found = Search(Environment.GetEnvironmentVariable(Variable), Names);
                if (s_found.Value.Handle != 0) NativeLibrary.SetDllImportResolver(typeof(OpenClApi).Assembly, Resolve);
            }

            problem = s_found.Value.Problem;
            return s_found.Value.Handle != 0;
        }
    }

    /// <summary>Loads the first of some names that loads and has OpenCL 1.2's functions.</summary>
    /// <param name="forced">The only name to try, or null or empty.</param>
    /// <param name="names">Names.</param>
    internal static (nint Handle, string? Problem) Search(string? forced, string[] names)
    {
        bool isForced = !string.IsNullOrEmpty(forced);
        foreach (string name in isForced ? [forced!] : names)
        {
            if (!NativeLibrary.TryLoad(name, out nint handle)) continue;
            if (NativeLibrary.TryGetExport(handle, "clEnqueueFillBuffer", out _)) return (handle, null);
            NativeLibrary.Free(handle);
            return (0, $"{name} has no function clEnqueueFillBuffer; OpenCL 1.2 or newer is needed");
        }

        return (0, isForced
            ? $"{forced} ({Variable}) could not be loaded"
            : $"no OpenCL library ({string.Join(" or ", names)}) was found; a graphics driver brings it, or {Variable} names it");
    }

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? path) => name == OpenClApi.Library ? s_found!.Value.Handle : 0;
}
