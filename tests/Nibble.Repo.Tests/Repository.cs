using System.Diagnostics;

namespace Nibble.Repo.Tests;

/// <summary>The files that belong to the repository: those that git tracks, and new ones that it does not ignore.</summary>
internal static class Repository
{
    private static readonly Lazy<IReadOnlyList<string>> s_files = new(ListFiles);

    /// <summary>Paths relative to the root, with '/', sorted. Where the tests run outside a git clone, the calling test is skipped.</summary>
    public static IReadOnlyList<string> Files
    {
        get
        {
            Assert.SkipUnless(Path.Exists(Path.Combine(Fixtures.Root, ".git")), "needs a git clone; these sources were unpacked without one");
            return s_files.Value;
        }
    }

    /// <summary>The C# files under a folder.</summary>
    public static IEnumerable<string> Sources(string folder) =>
        Files.Where(file => file.StartsWith(folder + "/", StringComparison.Ordinal) && file.EndsWith(".cs", StringComparison.Ordinal));

    /// <summary>The documents that people read: those of the root and of docs/.</summary>
    public static IEnumerable<string> Documents =>
        Files.Where(file => file.EndsWith(".md", StringComparison.Ordinal) && (!file.Contains('/') || file.StartsWith("docs/", StringComparison.Ordinal)));

    /// <summary>Whether a file is data that is kept byte for byte as its origin wrote it.</summary>
    public static bool IsData(string file) => file.StartsWith("tests/golden/", StringComparison.Ordinal) || file.StartsWith("models/", StringComparison.Ordinal);

    /// <summary>Whether a file is binary, by git's rule: a NUL among its first 8 000 bytes.</summary>
    public static bool IsBinary(string file)
    {
        byte[] start = new byte[8000];
        using FileStream stream = File.OpenRead(FullPath(file));
        return start.AsSpan(0, stream.ReadAtLeast(start, start.Length, throwOnEndOfStream: false)).Contains((byte)0);
    }

    /// <summary>The text of a file.</summary>
    public static string Read(string file) => File.ReadAllText(FullPath(file));

    /// <summary>Where a file lies.</summary>
    public static string FullPath(string file) => Path.Combine(Fixtures.Root, file);

    private static List<string> ListFiles()
    {
        // In CI the clone may belong to another user than the one who tests it.
        ProcessStartInfo start = new("git", ["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        {
            WorkingDirectory = Fixtures.Root,
            RedirectStandardOutput = true,
        };
        using Process git = Process.Start(start)!;
        string output = git.StandardOutput.ReadToEnd();
        git.WaitForExit();
        if (git.ExitCode != 0) throw new InvalidOperationException($"git ls-files ended with {git.ExitCode}.");
        List<string> files = [.. output.Split('\0', StringSplitOptions.RemoveEmptyEntries).Where(file => File.Exists(FullPath(file))).Distinct()];
        files.Sort(StringComparer.Ordinal);
        return files;
    }
}
