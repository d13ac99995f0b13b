using System.Runtime.InteropServices;

namespace Nibble.Cli;

/// <summary>Ctrl-C: the first press cancels what runs, a second one quits the process.</summary>
internal sealed class Interruption : IDisposable
{
    private readonly PosixSignalRegistration _registration;
    private CancellationTokenSource _source = new();
    private int _presses;

    /// <summary>Listens from now on.</summary>
    public Interruption() => _registration = PosixSignalRegistration.Create(PosixSignal.SIGINT, OnInterrupt);

    /// <summary>Cancelled at the first press.</summary>
    public CancellationToken Token => _source.Token;

    /// <summary>Whether Ctrl-C was pressed since the last <see cref="Reset"/>.</summary>
    public bool WasPressed => Volatile.Read(ref _presses) > 0;

    /// <summary>Called at the first press, on another thread.</summary>
    public Action? Pressed { get; set; }

    /// <summary>Forgets earlier presses, for the next piece of work.</summary>
    public void Reset()
    {
        Volatile.Write(ref _presses, 0);
        if (!_source.IsCancellationRequested) return;
        _source.Dispose();
        _source = new CancellationTokenSource();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _registration.Dispose();
        _source.Dispose();
    }

    private void OnInterrupt(PosixSignalContext context)
    {
        context.Cancel = true;
        if (Interlocked.Increment(ref _presses) > 1)
        {
            Console.Error.WriteLine();
            Environment.Exit(Program.Interrupted);
        }

        _source.Cancel();
        Pressed?.Invoke();
    }
}
