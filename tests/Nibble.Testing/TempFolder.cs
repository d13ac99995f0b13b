namespace Nibble.Testing;

/// <summary>A folder for one test, deleted with everything in it.</summary>
public sealed class TempFolder : IDisposable
{
    /// <summary>Makes the folder.</summary>
    public TempFolder() => Root = Directory.CreateTempSubdirectory("nibble-test-").FullName;

    /// <summary>The folder's path.</summary>
    public string Root { get; }

    /// <summary>The path of a file in the folder.</summary>
    public string File(string name) => Path.Combine(Root, name);

    /// <summary>Writes a file into the folder and gives its path.</summary>
    public string Write(string name, ReadOnlySpan<byte> bytes)
    {
        string path = File(name);
        System.IO.File.WriteAllBytes(path, bytes);
        return path;
    }

    /// <inheritdoc/>
    public void Dispose() => Directory.Delete(Root, recursive: true);
}
