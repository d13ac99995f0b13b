using System.Globalization;
using System.Runtime.InteropServices;

namespace Nibble.Cpu.Threading;

/// <summary>The physical cores that the process may use, and binding threads to them.</summary>
/// <remarks>Linux and Windows (its first 64 processors); of macOS only the number, and no thread is bound there. The halves for Windows and macOS were never run.</remarks>
internal static unsafe partial class PhysicalCores
{
    // As many processors as sched_setaffinity's cpu_set_t of glibc has.
    private const int MostProcessors = 1024;
    private const int RelationProcessorCore = 0;

    /// <summary>How many there are, at most <see cref="Environment.ProcessorCount"/> (which knows of quotas); that number where the system does not tell.</summary>
    public static int Count()
    {
        int cores = OperatingSystem.IsMacOS() ? MacOS() : All().Count;
        return cores > 0 ? Math.Min(cores, Environment.ProcessorCount) : Environment.ProcessorCount;
    }

    /// <summary>For each core, those of its logical processors that the process may use. Empty where the system does not tell.</summary>
    public static IReadOnlyList<int[]> All()
    {
        if (OperatingSystem.IsWindows()) return Windows();
        if (!OperatingSystem.IsLinux()) return [];
        ulong* mask = stackalloc ulong[MostProcessors / 64];
        new Span<ulong>(mask, MostProcessors / 64).Clear();
        // The process's own: a calling thread may be bound for reasons of its own.
        if (GetAffinity(Environment.ProcessId, MostProcessors / 8, mask) < 0) return [];
        return Linux("/sys/devices/system/cpu", [.. Enumerable.Range(0, MostProcessors).Where(cpu => (mask[cpu / 64] >> (cpu % 64) & 1) != 0)]);
    }

    /// <summary>Binds the calling thread to a core, so that it neither shares one with another thread of a team nor moves away from its caches.</summary>
    /// <param name="processors">The logical processors of its core.</param>
    /// <returns>Whether the system did it.</returns>
    public static bool Bind(int[] processors)
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
        ProcessorInformation[] entries = new ProcessorInformation[bytes / sizeof(ProcessorInformation)];
        fixed (ProcessorInformation* first = entries)
            if (GetLogicalProcessorInformation(first, ref bytes) == 0) return [];
        return
        [
            .. entries.Where(entry => entry.Relationship == RelationProcessorCore && (entry.Mask & allowed) != 0)
                .Select(entry => Enumerable.Range(0, 64).Where(cpu => ((ulong)(entry.Mask & allowed) >> cpu & 1) != 0).ToArray()),
        ];
    }

    private static int MacOS()
    {
        int cores = 0;
        nuint bytes = sizeof(int);
        return SysctlByName("hw.physicalcpu", &cores, ref bytes, null, 0) == 0 ? cores : 0;
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
    private static partial int GetLogicalProcessorInformation(ProcessorInformation* buffer, ref uint bytes);

    [LibraryImport("libc", EntryPoint = "sysctlbyname", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SysctlByName(string name, void* value, ref nuint bytes, void* newValue, nuint newBytes);

    // SYSTEM_LOGICAL_PROCESSOR_INFORMATION of winnt.h.
    [StructLayout(LayoutKind.Sequential)]
    private struct ProcessorInformation
    {
        public nuint Mask;
        public int Relationship;
        public ulong Details0, Details1;
    }
}
