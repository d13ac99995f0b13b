using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Runtime.Versioning;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Nibble.Testing;

/// <summary>A program on a terminal of its own, as a person would use it: keys go in, the screen's bytes come out, Ctrl-C is a signal.</summary>
/// <remarks>
/// A new session (POSIX_SPAWN_SETSID) whose first open file is the terminal's other end, which Linux then makes its controlling terminal. Linux only.
/// </remarks>
[SupportedOSPlatform("linux")]
public sealed unsafe partial class PseudoTerminal : IDisposable
{
    private const int ReadWrite = 2;
    private const int NoControllingTerminal = 0x100;
    private const short SetSession = 0x80, SetDefaultSignals = 0x04;
    private const int SigInterrupt = 2;
    private const nuint SetWindowSize = 0x5414;
    private const int SigKill = 9;

    private readonly FileStream _master;
    private readonly int _process;
    private readonly Thread _reader;
    private readonly StringBuilder _output = new();
    private int _seen;
    private bool _isEnded;
    private int? _exitCode;

    private PseudoTerminal(SafeFileHandle master, int process)
    {
        _master = new FileStream(master, FileAccess.ReadWrite, bufferSize: 0);
        _process = process;
        _reader = new Thread(ReadAll) { IsBackground = true, Name = "terminal reader" };
        _reader.Start();
    }

    /// <summary>Ctrl-C.</summary>
    public const string CtrlC = "\u0003";

    /// <summary>Ctrl-D, the end of input at the start of a line.</summary>
    public const string CtrlD = "\u0004";

    /// <summary>Everything that was written so far.</summary>
    public string Output
    {
        get
        {
            lock (_output) return _output.ToString();
        }
    }

    /// <summary>Starts a program on a new terminal of 40 lines of 160 characters.</summary>
    /// <param name="file">The program's path.</param>
    /// <param name="arguments">Its arguments.</param>
    public static PseudoTerminal Start(string file, params string[] arguments)
    {
        int descriptor = posix_openpt(ReadWrite | NoControllingTerminal);
        if (descriptor < 0 || grantpt(descriptor) != 0 || unlockpt(descriptor) != 0) throw new InvalidOperationException("no pseudo-terminal is to be had.");
        SafeFileHandle master = new(descriptor, ownsHandle: true);
        byte* name = stackalloc byte[128];
        if (ptsname_r(descriptor, name, 128) != 0) throw new InvalidOperationException("the pseudo-terminal has no name.");
        ushort* size = stackalloc ushort[4] { 40, 160, 0, 0 };
        _ = ioctl(descriptor, SetWindowSize, size);

        // Both structures are opaque; glibc's take 80 and 336 bytes.
        byte* actions = stackalloc byte[1024];
        byte* attributes = stackalloc byte[1024];
        _ = posix_spawn_file_actions_init(actions);
        _ = posix_spawn_file_actions_addopen(actions, 0, name, ReadWrite, 0);
        _ = posix_spawn_file_actions_adddup2(actions, 0, 1);
        _ = posix_spawn_file_actions_adddup2(actions, 0, 2);
        _ = posix_spawnattr_init(attributes);

        // A shell's background job has Ctrl-C ignored, and its children would inherit that.
        byte* signals = stackalloc byte[128];
        _ = sigemptyset(signals);
        _ = sigaddset(signals, SigInterrupt);
        _ = posix_spawnattr_setsigdefault(attributes, signals);
        _ = posix_spawnattr_setflags(attributes, SetSession | SetDefaultSignals);
        List<string> variables = ["TERM=xterm", "DOTNET_NOLOGO=1"];
        foreach (System.Collections.DictionaryEntry variable in Environment.GetEnvironmentVariables())
            if (variable.Key is not ("TERM" or "NO_COLOR" or "DOTNET_NOLOGO")) variables.Add($"{variable.Key}={variable.Value}");
        int process;
        byte** argumentArray = ToNative([file, .. arguments]);
        byte** variableArray = ToNative(variables);
        byte* path = (byte*)Marshal.StringToCoTaskMemUTF8(file);
        int error = posix_spawn(&process, path, actions, attributes, argumentArray, variableArray);
        Marshal.FreeCoTaskMem((nint)path);
        Free(argumentArray);
        Free(variableArray);
        _ = posix_spawn_file_actions_destroy(actions);
        _ = posix_spawnattr_destroy(attributes);
        if (error != 0) throw new InvalidOperationException($"'{file}' cannot be started: error {error}.");
        return new PseudoTerminal(master, process);
    }

    /// <summary>Types.</summary>
    public void Type(string keys) => _master.Write(Encoding.UTF8.GetBytes(keys));

    /// <summary>Types a line.</summary>
    public void TypeLine(string line) => Type(line + "\r");

    /// <summary>Waits until a text was written after what the last call waited for, and returns what came up to its end.</summary>
    /// <param name="text">The text.</param>
    /// <param name="timeoutMs">Gives up after so long; generous, for it only matters when a test fails.</param>
    public string WaitFor(string text, int timeoutMs = 120_000)
    {
        long start = Stopwatch.GetTimestamp();
        lock (_output)
        {
            while (true)
            {
                string all = _output.ToString();
                int index = all.IndexOf(text, _seen, StringComparison.Ordinal);
                if (index >= 0)
                {
                    string piece = all[_seen..(index + text.Length)];
                    _seen = index + text.Length;
                    return piece;
                }

                int left = timeoutMs - (int)Stopwatch.GetElapsedTime(start).TotalMilliseconds;
                if (_isEnded || left <= 0)
                    throw new TimeoutException($"'{text}' was not written {(_isEnded ? "before the program ended" : $"within {timeoutMs} ms")}. The terminal shows:\n{all}\n{Threads()}");
                Monitor.Wait(_output, left);
            }
        }
    }

    // What each thread of the program waits in, where the system tells: a hang that cannot be repeated explains itself so.
    private string Threads()
    {
        StringBuilder text = new("Its threads:");
        try
        {
            foreach (string thread in Directory.EnumerateDirectories($"/proc/{_process}/task"))
            {
                string Of(string file) => File.ReadAllText(Path.Combine(thread, file)).Trim();
                string[] state = [.. Of("status").Split('\n').Where(line => line.StartsWith("State", StringComparison.Ordinal) || line.StartsWith("Sig", StringComparison.Ordinal)).Select(line => line.Replace('\t', ' '))];
                text.Append(System.Globalization.CultureInfo.InvariantCulture, $"\n  {Path.GetFileName(thread)} {Of("comm")}: {string.Join(", ", state)}, in {Of("wchan")}, syscall {Of("syscall")}");
            }
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            text.Append(" not to be read");
        }

        return text.ToString();
    }

    /// <summary>Waits until the program ends.</summary>
    /// <returns>Its exit code, or 128 and the signal's number.</returns>
    public int WaitForExit()
    {
        if (_exitCode is null)
        {
            int status;
            _ = waitpid(_process, &status, 0);
            _exitCode = (status & 0x7f) == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f);
        }

        return _exitCode.Value;
    }

    /// <summary>Kills the program if it still runs.</summary>
    public void Dispose()
    {
        if (_exitCode is null)
        {
            _ = kill(_process, SigKill);
            WaitForExit();
        }

        _reader.Join(5000);
        _master.Dispose();
    }

    private void ReadAll()
    {
        byte[] buffer = new byte[4096];
        char[] characters = new char[4096];
        Decoder decoder = Encoding.UTF8.GetDecoder();
        try
        {
            for (int count; (count = _master.Read(buffer)) > 0;)
            {
                int length = decoder.GetChars(buffer.AsSpan(0, count), characters, flush: false);
                lock (_output)
                {
                    _output.Append(characters, 0, length);
                    Monitor.PulseAll(_output);
                }
            }
        }
        catch (IOException)
        {
            // Linux reports the other end's closing as an error of input and output.
        }

        lock (_output)
        {
            _isEnded = true;
            Monitor.PulseAll(_output);
        }
    }

    private static byte** ToNative(List<string> texts)
    {
        byte** array = (byte**)NativeMemory.AllocZeroed((nuint)(texts.Count + 1), (nuint)sizeof(byte*));
        for (int i = 0; i < texts.Count; i++)
            array[i] = (byte*)Marshal.StringToCoTaskMemUTF8(texts[i]);
        return array;
    }

    private static void Free(byte** array)
    {
        for (byte** item = array; *item is not null; item++)
            Marshal.FreeCoTaskMem((nint)(*item));
        NativeMemory.Free(array);
    }

    [LibraryImport("libc")]
    private static partial int posix_openpt(int flags);

    [LibraryImport("libc")]
    private static partial int grantpt(int descriptor);

    [LibraryImport("libc")]
    private static partial int unlockpt(int descriptor);

    [LibraryImport("libc")]
    private static partial int ptsname_r(int descriptor, byte* name, nuint length);

    [LibraryImport("libc")]
    private static partial int ioctl(int descriptor, nuint request, void* argument);

    [LibraryImport("libc")]
    private static partial int posix_spawn(int* process, byte* path, void* actions, void* attributes, byte** arguments, byte** variables);

    [LibraryImport("libc")]
    private static partial int posix_spawn_file_actions_init(void* actions);

    [LibraryImport("libc")]
    private static partial int posix_spawn_file_actions_destroy(void* actions);

    [LibraryImport("libc")]
    private static partial int posix_spawn_file_actions_addopen(void* actions, int descriptor, byte* path, int flags, uint mode);

    [LibraryImport("libc")]
    private static partial int posix_spawn_file_actions_adddup2(void* actions, int descriptor, int target);

    [LibraryImport("libc")]
    private static partial int posix_spawnattr_init(void* attributes);

    [LibraryImport("libc")]
    private static partial int posix_spawnattr_destroy(void* attributes);

    [LibraryImport("libc")]
    private static partial int posix_spawnattr_setflags(void* attributes, short flags);

    [LibraryImport("libc")]
    private static partial int posix_spawnattr_setsigdefault(void* attributes, void* signals);

    [LibraryImport("libc")]
    private static partial int sigemptyset(void* signals);

    [LibraryImport("libc")]
    private static partial int sigaddset(void* signals, int signal);

    [LibraryImport("libc")]
    private static partial int waitpid(int process, int* status, int options);

    [LibraryImport("libc")]
    private static partial int kill(int process, int signal);
}
