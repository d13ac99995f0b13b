using System.Collections;
using System.ComponentModel;
using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Peers;

/// <summary>The clone that this program was built from.</summary>
internal static class Checkout
{
    /// <summary>The folder of this project.</summary>
    public static string Project { get; } = FolderOf();

    /// <summary>Lines about the versions of what is compared.</summary>
    /// <param name="sides">The sides.</param>
    /// <param name="compiler">What the native llama-bench was built with.</param>
    /// <param name="ikArguments">Arguments for ik_llama.cpp's llama-bench.</param>
    public static IEnumerable<(string Name, string Value)> Versions(string[] sides, (string Name, Version Version)? compiler, string[] ikArguments)
    {
        if (sides.Contains(SideNames.Nibble))
        {
            // What forces or forbids instructions, such as DOTNET_EnableAVX512=0, changes the result.
            IEnumerable<string> settings = Environment.GetEnvironmentVariables().Cast<DictionaryEntry>()
                .Where(entry => entry.Key is string name && (name.StartsWith("DOTNET_Enable", StringComparison.OrdinalIgnoreCase) || name.StartsWith("DOTNET_Tiered", StringComparison.OrdinalIgnoreCase)))
                .Select(entry => $"{entry.Key}={entry.Value}").Order(StringComparer.Ordinal);
            yield return ("Nibble version", string.Join(", ", [Commit(), RuntimeInformation.FrameworkDescription, .. settings]));
        }

        if (sides.Contains(SideNames.Npm)) yield return ("llama.cpp npm version", $"{Fetch.Release} of node-llama-cpp {Fetch.PackageVersion}");
        if (sides.Contains(SideNames.Native)) yield return ("llama.cpp native version", $"{Fetch.Release}, the source in node-llama-cpp {Fetch.PackageVersion}, GGML_NATIVE=ON, {(compiler is { } known ? $"{known.Name} {known.Version}" : "compiler unknown")}; its llama-bench names the commit below");
        if (sides.Contains(SideNames.Ik)) yield return ("ik_llama.cpp version", $"its llama-bench names the commit below; arguments: {(ikArguments.Length > 0 ? string.Join(' ', ikArguments) : "none")}");
    }

    private static string Commit()
    {
        string commit = Git("rev-parse", "--short=10", "HEAD").Trim();
        return commit.Length == 0 ? "not a git clone" : Git("status", "--porcelain", "--untracked-files=no").Length > 0 ? $"{commit} with changes" : commit;
    }

    private static string Git(params string[] arguments)
    {
        try
        {
            using Process git = Process.Start(new ProcessStartInfo("git", ["-C", Project, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
            string output = git.StandardOutput.ReadToEnd();
            git.WaitForExit();
            return git.ExitCode == 0 ? output : string.Empty;
        }
        catch (Win32Exception)
        {
            return string.Empty;
        }
    }

    private static string FolderOf([CallerFilePath] string file = "") => Path.GetDirectoryName(file)!;
}
