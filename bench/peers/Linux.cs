using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Peers;

/// <summary>What only Linux's own functions do: the cores of a thread, stopping a process, and its end with its parent's.</summary>
internal static unsafe partial class Linux
{
    private const int Continue = 18, Stop = 19, Kill = 9, ParentDeathSignal = 1;

    // 1024 processors, the size of cpu_set_t.
    private const int MaskWords = 16;

    /// <summary>The logical processors that the calling thread may run on.</summary>
    public static int[] Cores()
    {
        ulong* mask = stackalloc ulong[MaskWords];
        if (GetAffinity(0, MaskWords * sizeof(ulong), mask) < 0) throw new Win32Exception();
        List<int> cores = [];
        for (int core = 0; core < MaskWords * 64; core++)
            if ((mask[core / 64] >> (core % 64) & 1) != 0) cores.Add(core);
        return [.. cores];
    }

    /// <summary>Keeps the calling thread, and every thread and process that it starts from now on, on some logical processors.</summary>
    /// <param name="cores">Numbers of logical processors.</param>
    /// <exception cref="Win32Exception">The system refuses them.</exception>
    public static void Pin(ReadOnlySpan<int> cores)
    {
        ulong* mask = stackalloc ulong[MaskWords];
        new Span<ulong>(mask, MaskWords).Clear();
        foreach (int core in cores) mask[core / 64] |= 1UL << (core % 64);
        if (SetAffinity(0, MaskWords * sizeof(ulong), mask) != 0) throw new Win32Exception();
    }

    /// <summary>Stops every thread of a process until <see cref="Resume"/>.</summary>
    /// <param name="process">Its id.</param>
    /// <exception cref="Win32Exception">There is no such process.</exception>
    public static void Suspend(int process)
    {
        if (Signal(process, Stop) != 0) throw new Win32Exception();
    }

    /// <summary>Lets a process go on.</summary>
    /// <param name="process">Its id.</param>
    /// <exception cref="Win32Exception">There is no such process.</exception>
    public static void Resume(int process)
    {
        if (Signal(process, Continue) != 0) throw new Win32Exception();
    }

    /// <summary>Ends this process when the thread that started it ends, so that none stays behind, stopped for ever.</summary>
    /// <exception cref="Win32Exception">The system refuses.</exception>
    public static void EndWithParent()
    {
        if (ProcessControl(ParentDeathSignal, Kill, 0, 0, 0) != 0) throw new Win32Exception();
    }

    [LibraryImport("libc", EntryPoint = "sched_getaffinity", SetLastError = true)]
    private static partial int GetAffinity(int process, nuint bytes, ulong* mask);

    [LibraryImport("libc", EntryPoint = "sched_setaffinity", SetLastError = true)]
    private static partial int SetAffinity(int process, nuint bytes, ulong* mask);

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int Signal(int process, int signal);

    [LibraryImport("libc", EntryPoint = "prctl", SetLastError = true)]
    private static partial int ProcessControl(int option, nuint a, nuint b, nuint c, nuint d);
}
