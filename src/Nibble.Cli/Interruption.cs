using System.Runtime.InteropServices;

namespace Nibble.Cli;

/// <summary>Ctrl-C: the first press cancels what runs, a second one quits the process.</summary>
internal sealed class Interruption : IDisposable
{
    private readonly PosixSignalRegistration _registration;
    private readonly Lock _lock = new();
    private CancellationTokenSource _source = new();
    private int _presses;

    /// <summary>Listens from now on.</summary>
    public Interruption() => _registration = PosixSignalRegistration.Create(PosixSignal.SIGINT, OnInterrupt);

    /// <summary>Cancelled at the first press.</summary>
    public CancellationToken Token
    {
        get
        {
            lock (_lock) return _source.Token;
        }
    }

    /// <summary>Called at the first press, on another thread.</summary>
    public Action? Pressed { get; set; }

    /// <summary>Forgets earlier presses, for the next piece of work.</summary>
    public void Reset()
    {
        lock (_lock)
        {
            _presses = 0;
            if (_source.IsCancellationRequested) _source = new CancellationTokenSource();
        }
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
        bool isSecond;
        lock (_lock)
        {
            isSecond = ++_presses > 1;
            if (!isSecond) _source.Cancel();
        }

        if (isSecond)
        {
            Console.Error.WriteLine();
            Environment.Exit(Program.Interrupted);
        }

        Pressed?.Invoke();
    }
}
