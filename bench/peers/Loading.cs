using System.Diagnostics;

namespace Peers;

/// <summary>What loading a model took.</summary>
/// <param name="Seconds">Time.</param>
/// <param name="PeakBytes">The most memory that is no mapped file, looked at every few milliseconds.</param>
internal sealed record Loading(double Seconds, long PeakBytes)
{
    private const int PeriodMilliseconds = 5;

    /// <summary>Loads, and looks at the memory meanwhile.</summary>
    /// <typeparam name="T">What is loaded.</typeparam>
    /// <param name="load">Loads.</param>
    public static (T Loaded, Loading Loading) Watch<T>(Func<T> load)
    {
        long peak = 0;
        using ManualResetEventSlim isDone = new();
        Thread watch = new(() =>
        {
            do peak = Math.Max(peak, Machine.AnonymousBytes());
            while (!isDone.Wait(PeriodMilliseconds));
        });
        watch.Start();
        try
        {
            long start = Stopwatch.GetTimestamp();
            T loaded = load();
            double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            isDone.Set();
            watch.Join();
            return (loaded, new Loading(seconds, Math.Max(peak, Machine.AnonymousBytes())));
        }
        finally
        {
            isDone.Set();
            watch.Join();
        }
    }
}
