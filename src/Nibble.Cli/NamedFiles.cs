namespace Nibble.Cli;

/// <summary>Files and folders that the command line names, checked before anything long begins.</summary>
internal static class NamedFiles
{
    /// <summary>Checks that a file to read is there.</summary>
    /// <param name="file">The file, or null for none.</param>
    /// <param name="option">Who names it, for the error.</param>
    /// <returns>The file.</returns>
    /// <exception cref="UsageException">It is a folder, or not there.</exception>
    public static FileInfo? Input(FileInfo? file, string option)
    {
        if (file is null) return null;
        if (Directory.Exists(file.FullName)) throw new UsageException($"'{file.FullName}' ({option}) is a folder; name a file.");
        return file.Exists ? file : throw new UsageException($"there is no file '{file.FullName}' ({option}).");
    }

    /// <summary>Checks that a file can be written where it is named.</summary>
    /// <param name="file">The file, or null for none.</param>
    /// <param name="option">Who names it, for the error.</param>
    /// <returns>The file.</returns>
    /// <exception cref="UsageException">It is a folder, or its folder is not there.</exception>
    public static FileInfo? Output(FileInfo? file, string option)
    {
        if (file is null) return null;
        if (Directory.Exists(file.FullName)) throw new UsageException($"'{file.FullName}' ({option}) is a folder; name a file.");
        return file.Directory is not { Exists: false } folder ? file : throw new UsageException($"there is no folder '{folder.FullName}' for '{file.Name}' ({option}); make it first.");
    }

    /// <summary>Checks that a folder, which need not be there, is no file.</summary>
    /// <param name="folder">The folder, or null for none.</param>
    /// <param name="option">Who names it, for the error.</param>
    /// <returns>The folder.</returns>
    /// <exception cref="UsageException">It is a file.</exception>
    public static DirectoryInfo? Folder(DirectoryInfo? folder, string option) =>
        folder is null || !File.Exists(folder.FullName) ? folder : throw new UsageException($"'{folder.FullName}' ({option}) is a file; name a folder.");
}
