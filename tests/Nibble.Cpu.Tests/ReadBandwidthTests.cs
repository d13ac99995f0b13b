using Nibble.Core.Memory;
using Nibble.Cpu.Jobs;

namespace Nibble.Cpu.Tests;

/// <summary>The measurement of the memory's speed.</summary>
public sealed class ReadBandwidthTests
{
    [Fact]
    public void It_gives_a_number_that_memory_can_have_and_the_backend_is_free_afterwards()
    {
        using CpuBackend backend = new(new CpuOptions { Threads = 2 });
        using ReadBandwidth bandwidth = new(backend);
        Assert.InRange(bandwidth.BufferBytes, 64 << 20, 1 << 30);
        Assert.InRange(bandwidth.Measure(), 1e7, 1e13);
        Assert.InRange(bandwidth.Measure(), 1e7, 1e13);
    }

    [Fact]
    public void It_stops_when_asked()
    {
        using CpuBackend backend = new(new CpuOptions { Threads = 1 });
        using ReadBandwidth bandwidth = new(backend);
        Assert.Throws<OperationCanceledException>(() => bandwidth.Measure(new CancellationToken(canceled: true)));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(524287)]
    [InlineData(1048576)]
    [InlineData(2097151)]
    [InlineData(3000001)]
    [InlineData(4194303)]
    public void Every_byte_is_read(int index)
    {
        using CpuBackend backend = new(new CpuOptions { Threads = 2 });
        using NativeBuffer buffer = new(2 * ReadJob.PartBytes);
        ReadJob job = new(buffer);
        backend.RunAlone(job, 2);
        Assert.Equal(0u, job.Sink);
        buffer.Span<byte>(0, (int)buffer.Length)[index] = 0x80;
        backend.RunAlone(job, 2);
        Assert.Equal(0x80ul << (8 * (index % 8)), job.Sink);
    }

    [Fact]
    public void Caches_of_the_last_level_are_counted_once_each()
    {
        string folder = Directory.CreateTempSubdirectory("nibble-caches-").FullName;
        try
        {
            Assert.Equal(64 << 20, ReadBandwidth.LastLevelCacheBytes(folder));
            for (int cpu = 0; cpu < 4; cpu++)
            {
                Cache(cpu, 0, "1", "32K", $"{cpu}");
                Cache(cpu, 1, "3", "4M", cpu < 2 ? "0-1" : "2-3");
            }

            Assert.Equal(8 << 20, ReadBandwidth.LastLevelCacheBytes(folder));
            Cache(3, 1, "3", "much", "2-3");
            Assert.Equal(64 << 20, ReadBandwidth.LastLevelCacheBytes(folder));
            Assert.Equal(64 << 20, ReadBandwidth.LastLevelCacheBytes(Path.Combine(folder, "nowhere")));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }

        void Cache(int cpu, int index, string level, string size, string sharers)
        {
            string own = Directory.CreateDirectory(Path.Combine(folder, $"cpu{cpu}", "cache", $"index{index}")).FullName;
            File.WriteAllText(Path.Combine(own, "level"), level + "\n");
            File.WriteAllText(Path.Combine(own, "size"), size + "\n");
            File.WriteAllText(Path.Combine(own, "shared_cpu_list"), sharers + "\n");
        }
    }
}
