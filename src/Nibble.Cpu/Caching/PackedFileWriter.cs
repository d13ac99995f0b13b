using Microsoft.Win32.SafeHandles;

namespace Nibble.Cpu.Caching;

/// <summary>Writes a <see cref="PackedFile"/>: under another name in the same folder, then renamed, so that nobody ever opens half of one.</summary>
internal static unsafe class PackedFileWriter
{
    private const int PieceBytes = 1 << 26;

    // A file that was written to since then may be one that another writer has closed and is about to rename.
    private static readonly TimeSpan s_rest = TimeSpan.FromMinutes(10);

    /// <summary>Writes a file in place of the one that is there.</summary>
    /// <param name="path">The file.</param>
    /// <param name="stamp">The model's stamp.</param>
    /// <param name="weights">The weights with the address of their packed bytes; offsets are not looked at.</param>
    /// <returns>Bytes of the file.</returns>
    /// <exception cref="IOException">It cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be written.</exception>
    public static long Write(string path, ulong stamp, IReadOnlyList<(PackedEntry Entry, nint Data)> weights)
    {
        List<PackedEntry> entries = [];
        long end = PackedFile.PageBytes;
        foreach ((PackedEntry entry, _) in weights)
        {
            entries.Add(entry with { Offset = end });
            end = (end + entry.Length + PackedFile.PageBytes - 1) / PackedFile.PageBytes * PackedFile.PageBytes;
        }

        byte[] table = PackedFile.Table(entries);
        DeleteRemains(path);
        string written = $"{path}.{Guid.NewGuid():N}.tmp";
        bool isRenamed = false;
        try
        {
            // Space is taken first, so that a full disk is found before anything is written.
            using (SafeFileHandle handle = File.OpenHandle(written, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None, FileOptions.None, end + table.Length))
            {
                for (int i = 0; i < entries.Count; i++)
                    for (long done = 0; done < entries[i].Length; done += PieceBytes)
                        RandomAccess.Write(handle, new ReadOnlySpan<byte>((byte*)weights[i].Data + done, (int)Math.Min(PieceBytes, entries[i].Length - done)), entries[i].Offset + done);
                RandomAccess.Write(handle, table, end);
                RandomAccess.Write(handle, PackedFile.Header(stamp, entries.Count, end, table), 0);
            }

            File.Move(written, path, overwrite: true);
            isRenamed = true;
            return end + table.Length;
        }
        finally
        {
            if (!isRenamed) Delete(written);
        }
    }

    // What a process that was ended left behind. One that still writes holds its file.
    private static void DeleteRemains(string path)
    {
        foreach (string remains in Directory.EnumerateFiles(Path.GetDirectoryName(Path.GetFullPath(path))!))
        {
            string name = Path.GetFileName(remains);
            if (!name.StartsWith(Path.GetFileName(path) + ".", StringComparison.Ordinal) || !name.EndsWith(".tmp", StringComparison.Ordinal)) continue;
            try
            {
                if (DateTime.UtcNow - File.GetLastWriteTimeUtc(remains) < s_rest) continue;
                using SafeFileHandle handle = File.OpenHandle(remains, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                continue;
            }

            Delete(remains);
        }
    }

    private static void Delete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // The next writer tries again.
        }
    }
}
