namespace Nibble.Testing;

/// <summary>Where test data lies: <c>tests/golden</c> in the clone, and <c>../shared</c> beside it where a workplace provides it.</summary>
public static class Fixtures
{
    /// <summary>The root of the repository: the nearest folder above the test assembly that holds Runtime.sln.</summary>
    public static string Root { get; } = FindRoot();

    /// <summary>The folder beside the repository with the large oracles. It may be absent.</summary>
    public static string SharedRoot { get; } = Path.GetFullPath(Path.Combine(Root, "..", "shared"));

    /// <summary>The path of a file or folder under <c>tests/golden</c>; the test fails when it does not exist.</summary>
    public static string Golden(params ReadOnlySpan<string> parts)
    {
        string path = Path.Combine([Root, "tests", "golden", .. parts]);
        if (!Path.Exists(path)) throw new FileNotFoundException($"tests/golden/{string.Join('/', parts)} is missing from this clone.");
        return path;
    }

    /// <summary>The path of a file or folder under <c>../shared</c>; where it does not exist, the calling test is skipped with the reason.</summary>
    public static string Shared(params ReadOnlySpan<string> parts)
    {
        string path = Path.Combine([SharedRoot, .. parts]);
        Xunit.Assert.SkipUnless(Path.Exists(path), $"needs ../shared/{string.Join('/', parts)}, which this workplace does not have");
        return path;
    }

    private static string FindRoot()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            if (File.Exists(Path.Combine(folder.FullName, "Runtime.sln"))) return folder.FullName;
        throw new DirectoryNotFoundException($"No folder above {AppContext.BaseDirectory} holds Runtime.sln.");
    }
}
