using System.Diagnostics;
using System.Globalization;

namespace Peers;

/// <summary>A process whose standard error is kept, for the reason when it fails.</summary>
internal sealed class ChildProcess : IDisposable
{
    private readonly Process _process;
    private readonly List<string> _errors = [];

    /// <summary>Starts a program on the cores of the calling thread.</summary>
    /// <param name="program">The program.</param>
    /// <param name="arguments">Its arguments.</param>
    public ChildProcess(string program, IEnumerable<string> arguments)
    {
        ProcessStartInfo start = new(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        _process = Process.Start(start)!;
        _process.ErrorDataReceived += (_, line) =>
        {
            if (line.Data is not { Length: > 0 } text) return;
            lock (_errors) _errors.Add(text);
        };
        _process.BeginErrorReadLine();
    }

    /// <summary>Its id.</summary>
    public int Id => _process.Id;

    /// <summary>Whether it has ended.</summary>
    public bool HasExited => _process.HasExited;

    /// <summary>What it has written to standard error.</summary>
    public string Errors
    {
        get
        {
            lock (_errors) return string.Join('\n', _errors);
        }
    }

    /// <summary>Writes a line to its standard input.</summary>
    /// <param name="line">The line.</param>
    public void Write(string line)
    {
        _process.StandardInput.WriteLine(line);
        _process.StandardInput.Flush();
    }

    /// <summary>The next line of its standard output.</summary>
    /// <exception cref="PeerException">It ended without one.</exception>
    public string ReadLine() => _process.StandardOutput.ReadLine() ?? throw Ended();

    /// <summary>Everything that it writes until it ends.</summary>
    /// <exception cref="PeerException">Its exit code is not 0.</exception>
    public string ReadToEnd()
    {
        string output = _process.StandardOutput.ReadToEnd();
        _process.WaitForExit();
        return _process.ExitCode == 0 ? output : throw Ended();
    }

    /// <summary>Ends it, if it has not ended.</summary>
    public void Dispose()
    {
        if (!_process.HasExited) _process.Kill(entireProcessTree: true);
        _process.WaitForExit();
        _process.Dispose();
    }

    private PeerException Ended()
    {
        _process.WaitForExit();
        string[] lines = Errors.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        return new PeerException($"exit code {_process.ExitCode.ToString(CultureInfo.InvariantCulture)}: {(lines.Length > 0 ? lines[^1].Trim() : "it said nothing")}");
    }
}
