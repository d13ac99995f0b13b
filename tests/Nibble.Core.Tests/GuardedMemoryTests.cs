using System.Globalization;

namespace Nibble.Core.Tests;

/// <summary>The guard pages that other tests rely on are really there.</summary>
public unsafe class GuardedMemoryTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(4096)]
    [InlineData(4097)]
    [InlineData(100_000)]
    public void The_chosen_end_touches_a_page_without_rights(int length)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "reads the page rights from /proc/self/maps");
        using GuardedMemory<byte> start = new(length, GuardSide.Start), end = new(length, GuardSide.End);
        Assert.True(start.IsGuarded);
        Assert.Equal("---p", Rights((nuint)start.Pointer - 1));
        Assert.Equal("---p", Rights((nuint)end.Pointer + (nuint)length));
        if (length == 0) return;
        Assert.Equal("rw-p", Rights((nuint)start.Pointer));
        Assert.Equal("rw-p", Rights((nuint)start.Pointer + (nuint)length - 1));
        Assert.Equal("rw-p", Rights((nuint)end.Pointer));
        Assert.Equal("rw-p", Rights((nuint)end.Pointer + (nuint)length - 1));
    }

    [Fact]
    public void The_memory_starts_zeroed_and_keeps_what_is_written()
    {
        using GuardedMemory<int> memory = new(1000);
        Assert.All(memory.Span.ToArray(), value => Assert.Equal(0, value));
        memory.Span.Fill(42);
        Assert.All(memory.Span.ToArray(), value => Assert.Equal(42, value));
        using GuardedMemory<int> copy = new(memory.Span, GuardSide.Start);
        Assert.Equal(memory.Span, copy.Span);
    }

    [Fact]
    public void Freed_memory_is_refused()
    {
        GuardedMemory<float> memory = new(3);
        memory.Dispose();
        memory.Dispose();
        Assert.Throws<ObjectDisposedException>(() => memory.Span.Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => new GuardedMemory<float>(-1));
    }

    private static string Rights(nuint address)
    {
        foreach (string line in File.ReadLines("/proc/self/maps"))
        {
            string[] range = line.Split(' ')[0].Split('-');
            if (address >= nuint.Parse(range[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture)
                && address < nuint.Parse(range[1], NumberStyles.HexNumber, CultureInfo.InvariantCulture))
                return line.Split(' ')[1];
        }

        return "unmapped";
    }
}
