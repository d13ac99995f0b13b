using System.Diagnostics;
using System.Globalization;
using Nibble.Core.Memory;
using Nibble.Cpu.Jobs;

namespace Nibble.Cpu;

/// <summary>How fast the threads of a <see cref="CpuBackend"/> read memory: the bound of generating tokens one by one, where every weight is read once a token.</summary>
/// <remarks>The buffer is four times as large as all last-level caches that the process can see, so that little of it is still in them from one pass to the next.</remarks>
public sealed class ReadBandwidth : IDisposable
{
    // Where the system does not tell the size of its caches.
    private const long AssumedCache = 64 << 20;
    private const long SmallestBuffer = 64 << 20;
    private const long LargestBuffer = 1 << 30;
    private const int Passes = 7;
    private const int LeastPasses = 3;
    private static readonly TimeSpan Budget = TimeSpan.FromMilliseconds(400);

    private readonly CpuBackend _backend;
    private readonly NativeBuffer _buffer;
    private readonly ReadJob _job;

    /// <summary>Allocates the buffer.</summary>
    /// <param name="backend">Whose threads read.</param>
    /// <exception cref="InsufficientMemoryException">There is no memory for the buffer.</exception>
    public ReadBandwidth(CpuBackend backend)
    {
        ArgumentNullException.ThrowIfNull(backend);
        _backend = backend;
        CacheBytes = LastLevelCacheBytes("/sys/devices/system/cpu");
        long wanted = Math.Clamp(4 * CacheBytes, SmallestBuffer, LargestBuffer);
        // Never so much that the model's own pages have to go.
        long bytes = Math.Min(wanted, backend.AvailableBytes / 4) / ReadJob.PartBytes * ReadJob.PartBytes;
        if (bytes < SmallestBuffer)
            throw new InsufficientMemoryException($"measuring the memory's speed needs a buffer of {SmallestBuffer:N0} bytes, and four times as much free; {backend.AvailableBytes:N0} are.");
        // The buffer's constructor writes to all of it: pages that were never written to would all be one page of zeros.
        _buffer = new NativeBuffer(bytes);
        _job = new ReadJob(_buffer);
    }

    /// <summary>Bytes of all last-level caches that the process can see, 64 MiB where the system does not tell.</summary>
    public long CacheBytes { get; }

    /// <summary>Bytes of the buffer.</summary>
    public long BufferBytes => _buffer.Length;

    /// <summary>Measures: the median of at most seven passes, which take about half a second together.</summary>
    /// <param name="cancellation">Looked at between passes.</param>
    /// <returns>Bytes a second, all threads together.</returns>
    /// <exception cref="InvalidOperationException">The backend is in use.</exception>
    public double Measure(CancellationToken cancellation = default)
    {
        int parts = (int)(_buffer.Length / ReadJob.PartBytes);
        List<double> seconds = [];
        Stopwatch total = Stopwatch.StartNew();
        while (seconds.Count < Passes && (seconds.Count < LeastPasses || total.Elapsed < Budget))
        {
            cancellation.ThrowIfCancellationRequested();
            long start = Stopwatch.GetTimestamp();
            _backend.RunAlone(_job, parts);
            seconds.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
        }

        seconds.Sort();
        double median = (seconds[(seconds.Count - 1) / 2] + seconds[seconds.Count / 2]) / 2;
        return _buffer.Length / median;
    }

    /// <inheritdoc/>
    public void Dispose() => _buffer.Dispose();

    /// <summary>Bytes of all caches of the highest level, each counted once.</summary>
    /// <param name="folder">Linux' folder with a folder <c>cpuN</c> a logical processor.</param>
    internal static long LastLevelCacheBytes(string folder)
    {
        try
        {
            Dictionary<(int Level, string Sharers), long> caches = [];
            foreach (string cpu in Directory.EnumerateDirectories(folder, "cpu*"))
            {
                string cache = Path.Combine(cpu, "cache");
                if (!Directory.Exists(cache)) continue;
                foreach (string index in Directory.EnumerateDirectories(cache, "index*"))
                    caches[(int.Parse(Text(index, "level"), CultureInfo.InvariantCulture), Text(index, "shared_cpu_list"))] = Bytes(Text(index, "size"));
            }

            if (caches.Count == 0) return AssumedCache;
            int highest = caches.Keys.Max(key => key.Level);
            return caches.Where(entry => entry.Key.Level == highest).Sum(entry => entry.Value);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException)
        {
            return AssumedCache;
        }
    }

    private static string Text(string folder, string file) => File.ReadAllText(Path.Combine(folder, file)).Trim();

    // "32K", "107520K", "4M".
    private static long Bytes(string size)
    {
        int shift = size[^1] switch { 'K' => 10, 'M' => 20, 'G' => 30, _ => 0 };
        return long.Parse(size.AsSpan(0, size.Length - (shift > 0 ? 1 : 0)), CultureInfo.InvariantCulture) << shift;
    }
}
