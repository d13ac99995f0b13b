using System.Globalization;
using System.Runtime.InteropServices;

namespace Peers;

/// <summary>The machine, as far as it explains a measurement.</summary>
internal static class Machine
{
    // Flags of /proc/cpuinfo that kernels of either side look at.
    private static readonly string[] Telling =
    [
        "avx", "avx2", "fma", "f16c", "avx_vnni", "avx_vnni_int8", "avx512f", "avx512bw", "avx512vl", "avx512vbmi", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
        "asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2", "hypervisor",
    ];

    /// <summary>Whether the processor says that it has something.</summary>
    /// <param name="flag">A flag of /proc/cpuinfo.</param>
    public static bool HasFlag(string flag) => Flags().Contains(flag);

    /// <summary>Lines of name and value.</summary>
    /// <param name="cores">The logical processors that everything is pinned to.</param>
    public static IEnumerable<(string Name, string Value)> Describe(int[] cores)
    {
        Dictionary<string, string> cpu = Processor();
        string Of(string name) => cpu.GetValueOrDefault(name, "?");
        string[] flags = Flags();
        yield return ("CPU", $"{Of("model name")}, family {Of("cpu family")} model {Of("model")} stepping {Of("stepping")}");
        yield return ("flags", string.Join(' ', Telling.Where(flags.Contains)));
        yield return ("cores", $"{string.Join(',', cores)} of {Environment.ProcessorCount} logical processors");
        yield return ("memory", $"{Meminfo("MemTotal") / 1048576.0:0.0} GiB");
        yield return ("system", $"{RuntimeInformation.OSDescription}, load before the run {File.ReadAllText("/proc/loadavg").Split(' ')[0]}");
    }

    /// <summary>The first logical processor of each physical core that the process may use, at most as many as asked for; where there are not that many, all that it may use.</summary>
    /// <param name="count">How many.</param>
    public static int[] Choose(int count)
    {
        int[] allowed = Linux.Cores();
        HashSet<string> seen = [];
        int[] firsts = [.. allowed.Where(core => seen.Add(Siblings(core)))];
        return firsts.Length >= count ? firsts[..count] : allowed;
    }

    /// <summary>Memory of this process that is no mapped file.</summary>
    public static long AnonymousBytes()
    {
        string line = File.ReadLines("/proc/self/status").First(line => line.StartsWith("RssAnon:", StringComparison.Ordinal));
        return 1024 * long.Parse(line.AsSpan("RssAnon:".Length).Trim().TrimEnd(" kB"), CultureInfo.InvariantCulture);
    }

    // What the first processor says.
    private static Dictionary<string, string> Processor() =>
        File.ReadLines("/proc/cpuinfo").TakeWhile(line => line.Length > 0).Select(line => line.Split(':', 2)).Where(parts => parts.Length == 2)
            .GroupBy(parts => parts[0].Trim()).ToDictionary(parts => parts.Key, parts => parts.First()[1].Trim());

    // x86 calls them flags, Arm Features.
    private static string[] Flags()
    {
        Dictionary<string, string> cpu = Processor();
        return cpu.GetValueOrDefault("flags", cpu.GetValueOrDefault("Features", string.Empty)).Split(' ');
    }

    private static string Siblings(int core)
    {
        string path = $"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list";
        return File.Exists(path) ? File.ReadAllText(path) : core.ToString(CultureInfo.InvariantCulture);
    }

    private static double Meminfo(string name) =>
        double.Parse(File.ReadLines("/proc/meminfo").First(line => line.StartsWith(name + ":", StringComparison.Ordinal)).Split(':')[1].Replace("kB", string.Empty, StringComparison.Ordinal), CultureInfo.InvariantCulture);
}
