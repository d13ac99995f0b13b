namespace Nibble.Cli;

/// <summary>A file that a command writes: whole, or not at all.</summary>
internal static class OutputFile
{
    /// <summary>Writes beside the path and moves the file there when all is written; what was there before stays until then.</summary>
    /// <param name="path">The file. A device or pipe is written to as it is.</param>
    /// <param name="write">Writes the content.</param>
    public static void Write(string path, Action<Stream> write)
    {
        if (File.Exists(path) && IsSpecial(path))
        {
            using FileStream special = new(path, FileMode.Open, FileAccess.Write);
            write(special);
            return;
        }

        string temporary = path + ".incomplete";
        try
        {
            using (FileStream file = new(temporary, FileMode.Create, FileAccess.Write, FileShare.None, 1 << 20))
                write(file);
            File.Move(temporary, path, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }

    private static bool IsSpecial(string path)
    {
        using FileStream file = new(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
        return !file.CanSeek;
    }
}
