using System.Runtime.InteropServices;

namespace Nibble.Cpu.Threading;

/// <summary>How many physical cores the process may use.</summary>
internal static unsafe partial class PhysicalCores
{
    private const int RelationProcessorCore = 0;

    /// <summary>Physical cores, at most <see cref="Environment.ProcessorCount"/> (which knows of affinity and quotas); that number where the system does not tell.</summary>
    public static int Count()
    {
        int cores = OperatingSystem.IsLinux() ? Linux("/sys/devices/system/cpu")
            : OperatingSystem.IsWindows() ? Windows()
            : OperatingSystem.IsMacOS() ? MacOS()
            : 0;
        return cores > 0 ? Math.Min(cores, Environment.ProcessorCount) : Environment.ProcessorCount;
    }

    /// <summary>Counts the different sets of siblings; 0 when the folder does not hold them.</summary>
    /// <param name="folder">The folder with a folder <c>cpuN</c> a logical processor.</param>
    internal static int Linux(string folder)
    {
        try
        {
            HashSet<string> cores = [];
            foreach (string cpu in Directory.EnumerateDirectories(folder, "cpu*"))
            {
                string siblings = Path.Combine(cpu, "topology", "thread_siblings_list");
                if (File.Exists(siblings)) cores.Add(File.ReadAllText(siblings));
            }

            return cores.Count;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return 0;
        }
    }

    private static int Windows()
    {
        uint bytes = 0;
        _ = GetLogicalProcessorInformation(null, ref bytes);
        if (bytes == 0) return 0;
        ProcessorInformation[] entries = new ProcessorInformation[bytes / sizeof(ProcessorInformation)];
        fixed (ProcessorInformation* first = entries)
            if (GetLogicalProcessorInformation(first, ref bytes) == 0) return 0;
        int cores = 0;
        foreach (ProcessorInformation entry in entries)
            if (entry.Relationship == RelationProcessorCore) cores++;
        return cores;
    }

    private static int MacOS()
    {
        int cores = 0;
        nuint bytes = sizeof(int);
        return SysctlByName("hw.physicalcpu", &cores, ref bytes, null, 0) == 0 ? cores : 0;
    }

    [LibraryImport("kernel32")]
    private static partial int GetLogicalProcessorInformation(ProcessorInformation* buffer, ref uint bytes);

    [LibraryImport("libc", EntryPoint = "sysctlbyname", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SysctlByName(string name, void* value, ref nuint bytes, void* newValue, nuint newBytes);

    // SYSTEM_LOGICAL_PROCESSOR_INFORMATION of winnt.h.
    [StructLayout(LayoutKind.Sequential)]
    internal struct ProcessorInformation
    {
        public nuint Mask;
        public int Relationship;
        public ulong Details0, Details1;
    }
}
