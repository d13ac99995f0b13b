using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Peers;

/// <summary>How fast some threads together read memory.</summary>
internal sealed unsafe class ReadRate : IDisposable
{
    private const long BytesPerThread = 512L << 20;
    private const int Passes = 2;

    private readonly byte*[] _blocks;

    /// <summary>Takes 512 MiB for each thread, written once so that every page is there.</summary>
    /// <param name="threads">Threads.</param>
    public ReadRate(int threads)
    {
        _blocks = new byte*[threads];
        for (int i = 0; i < threads; i++)
        {
            _blocks[i] = (byte*)NativeMemory.AlignedAlloc((nuint)BytesPerThread, 4096);
            NativeMemory.Fill(_blocks[i], (nuint)BytesPerThread, 1);
        }
    }

    /// <summary>Bytes per second, all threads together.</summary>
    /// <exception cref="InvalidOperationException">What was read is not what was written.</exception>
    public double Measure()
    {
        long sum = 0;
        using Barrier barrier = new(_blocks.Length + 1);
        Thread[] threads = [.. Enumerable.Range(0, _blocks.Length).Select(i => new Thread(() =>
        {
            barrier.SignalAndWait();
            for (int pass = 0; pass < Passes; pass++) Interlocked.Add(ref sum, Sum(_blocks[i]));
            barrier.SignalAndWait();
        }))];
        foreach (Thread thread in threads) thread.Start();
        barrier.SignalAndWait();
        long start = Stopwatch.GetTimestamp();
        barrier.SignalAndWait();
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        foreach (Thread thread in threads) thread.Join();
        long bytes = Passes * BytesPerThread * _blocks.Length;
        return sum == bytes / 8 * 0x0101010101010101 ? bytes / seconds : throw new InvalidOperationException("memory does not hold what was written to it.");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (byte* block in _blocks) NativeMemory.AlignedFree(block);
    }

    // Four sums, so that no addition waits for the one before.
    private static long Sum(byte* block)
    {
        Vector512<long> a = default, b = default, c = default, d = default;
        for (byte* end = block + BytesPerThread; block < end; block += 256)
        {
            a += Vector512.Load((long*)block);
            b += Vector512.Load((long*)(block + 64));
            c += Vector512.Load((long*)(block + 128));
            d += Vector512.Load((long*)(block + 192));
        }

        return Vector512.Sum(a + b + c + d);
    }
}
