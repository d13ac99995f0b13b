using System.Globalization;
using System.Runtime.InteropServices;

namespace Nibble.Cpu.Threading;

/// <summary>Binds threads to physical cores, so that none of them shares one with another, or moves away from its caches, while there is a core for each.</summary>
/// <remarks>Linux and Windows (its first 64 processors); elsewhere no thread is bound. The Windows half was never run.</remarks>
internal static unsafe partial class CorePins
{
    // As many processors as sched_setaffinity's cpu_set_t of glibc has.
    private const int MostProcessors = 1024;
    private const int RelationProcessorCore = 0;

    /// <summary>For each physical core that the process may use, those of its logical processors that it may use. Empty where the system does not tell.</summary>
    public static IReadOnlyList<int[]> Cores()
    {
        if (OperatingSystem.IsWindows()) return Windows();
        if (!OperatingSystem.IsLinux()) return [];
        ulong* mask = stackalloc ulong[MostProcessors / 64];
        new Span<ulong>(mask, MostProcessors / 64).Clear();
        if (GetAffinity(0, MostProcessors / 8, mask) < 0) return [];
        return Linux("/sys/devices/system/cpu", [.. Enumerable.Range(0, MostProcessors).Where(cpu => (mask[cpu / 64] >> (cpu % 64) & 1) != 0)]);
    }

    /// <summary>Binds the calling thread.</summary>
    /// <param name="processors">The logical processors of its core.</param>
    /// <returns>Whether the system did it.</returns>
    public static bool Pin(int[] processors)
    {
        ulong* mask = stackalloc ulong[MostProcessors / 64];
        new Span<ulong>(mask, MostProcessors / 64).Clear();
        foreach (int cpu in processors)
            mask[cpu / 64] |= 1ul << (cpu % 64);
        if (OperatingSystem.IsWindows()) return SetThreadAffinityMask(GetCurrentThread(), (nuint)mask[0]) != 0;
        return OperatingSystem.IsLinux() && SetAffinity(0, MostProcessors / 8, mask) == 0;
    }

    /// <summary>The cores of a folder with a folder <c>cpuN</c> a logical processor; empty when it does not tell the siblings of one of them.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="allowed">The processors that count, in ascending order.</param>
    internal static IReadOnlyList<int[]> Linux(string folder, int[] allowed)
    {
        Dictionary<string, List<int>> cores = [];
        foreach (int cpu in allowed)
        {
            try
            {
                string siblings = File.ReadAllText(Path.Combine(folder, string.Create(CultureInfo.InvariantCulture, $"cpu{cpu}"), "topology", "thread_siblings_list"));
                if (!cores.TryGetValue(siblings, out List<int>? core)) cores[siblings] = core = [];
                core.Add(cpu);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return [];
            }
        }

        return [.. cores.Values.Select(core => core.ToArray())];
    }

    private static List<int[]> Windows()
    {
        uint bytes = 0;
        _ = GetLogicalProcessorInformation(null, ref bytes);
        if (bytes == 0 || GetProcessAffinityMask(GetCurrentProcess(), out nuint allowed, out _) == 0) return [];
        PhysicalCores.ProcessorInformation[] entries = new PhysicalCores.ProcessorInformation[bytes / sizeof(PhysicalCores.ProcessorInformation)];
        fixed (PhysicalCores.ProcessorInformation* first = entries)
            if (GetLogicalProcessorInformation(first, ref bytes) == 0) return [];
        return
        [
            .. entries.Where(entry => entry.Relationship == RelationProcessorCore && (entry.Mask & allowed) != 0)
                .Select(entry => Enumerable.Range(0, 64).Where(cpu => ((ulong)(entry.Mask & allowed) >> cpu & 1) != 0).ToArray()),
        ];
    }

    [LibraryImport("libc", EntryPoint = "sched_getaffinity")]
    private static partial int GetAffinity(int thread, nuint bytes, ulong* mask);

    [LibraryImport("libc", EntryPoint = "sched_setaffinity")]
    private static partial int SetAffinity(int thread, nuint bytes, ulong* mask);

    [LibraryImport("kernel32")]
    private static partial nint GetCurrentProcess();

    [LibraryImport("kernel32")]
    private static partial nint GetCurrentThread();

    [LibraryImport("kernel32")]
    private static partial int GetProcessAffinityMask(nint process, out nuint allowed, out nuint system);

    [LibraryImport("kernel32")]
    private static partial nuint SetThreadAffinityMask(nint thread, nuint mask);

    [LibraryImport("kernel32")]
    private static partial int GetLogicalProcessorInformation(PhysicalCores.ProcessorInformation* buffer, ref uint bytes);
}
