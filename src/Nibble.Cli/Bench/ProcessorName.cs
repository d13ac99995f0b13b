using System.Runtime.InteropServices;

namespace Nibble.Cli.Bench;

/// <summary>The processor's name as its maker gives it.</summary>
internal static class ProcessorName
{
    /// <summary>The name; the instruction set's where the system tells no other.</summary>
    public static string Value { get; } = Find() ?? RuntimeInformation.ProcessArchitecture.ToString();

    private static string? Find()
    {
        try
        {
            if (OperatingSystem.IsWindows()) return Environment.GetEnvironmentVariable("PROCESSOR_IDENTIFIER");
            if (!OperatingSystem.IsLinux()) return null;
            foreach (string line in File.ReadLines("/proc/cpuinfo"))
                if (line.StartsWith("model name", StringComparison.Ordinal)) return line[(line.IndexOf(':', StringComparison.Ordinal) + 1)..].Trim();
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
