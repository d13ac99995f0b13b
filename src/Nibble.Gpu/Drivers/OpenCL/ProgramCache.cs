using System.Security.Cryptography;
using System.Text;

namespace Nibble.Gpu.Drivers.OpenCL;

/// <summary>Built programs on disk, a file each, named by a hash of everything that they depend on. What cannot be read or written is built again; nothing here is an error.</summary>
internal sealed class ProgramCache(string folder)
{
    private const int HashBytes = 32;

    /// <summary>Where programs are kept: <c>NIBBLE_CACHE</c>, or the user's folder for such files. Null where there is no such folder.</summary>
    public static ProgramCache? Default()
    {
        if (Environment.GetEnvironmentVariable("NIBBLE_CACHE") is { Length: > 0 } chosen) return new ProgramCache(Path.Combine(chosen, "opencl"));
        string root = Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } xdg ? xdg
            : OperatingSystem.IsLinux() && Environment.GetFolderPath(Environment.SpecialFolder.UserProfile) is { Length: > 0 } home ? Path.Combine(home, ".cache")
            : Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData);
        return root.Length == 0 ? null : new ProgramCache(Path.Combine(root, "nibble", "opencl"));
    }

    /// <summary>The name of a program's file: a hash of device, driver, options and source.</summary>
    public static string Key(GpuDeviceInfo device, string source, string options) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\0', device.Name, device.Platform, device.DriverVersion, device.Extensions, options, source))));

    /// <summary>The program of a key, or null. A file that was cut short or changed counts as none.</summary>
    public byte[]? Read(string key)
    {
        try
        {
            byte[] file = File.ReadAllBytes(Path.Combine(folder, key));
            return file.Length > HashBytes && SHA256.HashData(file.AsSpan(HashBytes)).AsSpan().SequenceEqual(file.AsSpan(0, HashBytes)) ? file[HashBytes..] : null;
        }
        catch (Exception error) when (IsOfFiles(error))
        {
            return null;
        }
    }

    // The folder is the user's word (NIBBLE_CACHE), and may be none.
    private static bool IsOfFiles(Exception error) => error is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException;

    /// <summary>Keeps a program.</summary>
    public void Write(string key, byte[] program)
    {
        try
        {
            Directory.CreateDirectory(folder);
            string partial = Path.Combine(folder, $"{key}.{Environment.ProcessId}.{Guid.NewGuid():N}");
            try
            {
                using (FileStream file = new(partial, FileMode.CreateNew))
                {
                    file.Write(SHA256.HashData(program));
                    file.Write(program);
                }

                File.Move(partial, Path.Combine(folder, key), overwrite: true);
            }
            catch
            {
                File.Delete(partial);
                throw;
            }
        }
        catch (Exception error) when (IsOfFiles(error))
        {
            // Without the file the program is built again next time.
        }
    }
}
