namespace Nibble.Quantize;

/// <summary>Loops of independent steps, on as many threads as whoever began the work allows: everything in this library that runs on several threads goes through here.</summary>
public static class Work
{
    private static readonly AsyncLocal<int> s_threads = new();

    /// <summary>Threads that a loop takes at most: those of the <see cref="Limit"/> that it runs under, else one a core.</summary>
    public static int Threads => s_threads.Value > 0 ? s_threads.Value : Environment.ProcessorCount;

    /// <summary>Bounds the threads of all loops that are begun until the result is disposed, here and on threads that are started from here.</summary>
    /// <param name="threads">Threads; 0 for those that are allowed already. More than are allowed already are not given.</param>
    /// <exception cref="ArgumentOutOfRangeException">Fewer than 0.</exception>
    public static IDisposable Limit(int threads)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(threads);
        int outer = s_threads.Value;
        if (threads > 0) s_threads.Value = outer > 0 ? Math.Min(outer, threads) : threads;
        return new Scope(outer);
    }

    /// <summary>Runs steps 0 to <paramref name="end"/> - 1, in any order.</summary>
    /// <param name="end">How many.</param>
    /// <param name="step">A step.</param>
    /// <exception cref="AggregateException">What steps threw.</exception>
    internal static void For(int end, Action<int> step) => For(end, null, step);

    /// <summary>Runs steps 0 to <paramref name="end"/> - 1, in any order.</summary>
    /// <param name="end">How many.</param>
    /// <param name="options">Fewer threads, and what stops the loop; null for nothing of this.</param>
    /// <param name="step">A step.</param>
    /// <exception cref="AggregateException">What steps threw.</exception>
    /// <exception cref="OperationCanceledException">It was stopped.</exception>
    internal static void For(int end, ParallelOptions? options, Action<int> step) => Parallel.For(0, end, Bounded(options), step);

    /// <summary>Runs steps 0 to <paramref name="end"/> - 1, in any order, each with something that no other step uses meanwhile.</summary>
    /// <param name="end">How many.</param>
    /// <param name="options">Fewer threads, and what stops the loop; null for nothing of this.</param>
    /// <param name="create">Makes what a thread's steps use.</param>
    /// <param name="step">A step.</param>
    /// <exception cref="AggregateException">What steps threw.</exception>
    /// <exception cref="OperationCanceledException">It was stopped.</exception>
    internal static void For<T>(int end, ParallelOptions? options, Func<T> create, Action<int, T> step) =>
        Parallel.For(0, end, Bounded(options), create, (i, _, own) =>
        {
            step(i, own);
            return own;
        }, _ => { });

    private static ParallelOptions Bounded(ParallelOptions? options)
    {
        int asked = options?.MaxDegreeOfParallelism ?? -1;

        // Without a limit a loop may have more threads than cores only where it asks for them.
        int most = asked <= 0 ? Threads : s_threads.Value > 0 ? Math.Min(asked, s_threads.Value) : asked;
        return new ParallelOptions { MaxDegreeOfParallelism = most, CancellationToken = options?.CancellationToken ?? CancellationToken.None };
    }

    private sealed class Scope(int outer) : IDisposable
    {
        public void Dispose() => s_threads.Value = outer;
    }
}
