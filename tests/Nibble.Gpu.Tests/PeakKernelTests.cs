using System.Runtime.InteropServices;
using Nibble.Gpu.Drivers;

namespace Nibble.Gpu.Tests;

/// <summary>The kernels that measure what a device gives at best: that they read everything once, and compute what they claim to.</summary>
public class PeakKernelTests
{
    [Fact]
    public void All_memory_is_read_and_all_rounds_are_computed() => Check();

    internal static void Check()
    {
        const int Vector = 4, Groups = 2, Items = 2, Count = 14, Rounds = 3;
        using GpuDevice device = TestDevice.Open();
        using KernelSources kernels = new(device, GpuFeatures.None, isEmulated: false);
        GpuModule module = kernels.Module("peaks", $"V={Vector}");
        float[] values = [.. Enumerable.Range(0, Groups * Count * Vector).Select(i => (float)i)], sums = new float[Groups * Items * Vector];
        using GpuBuffer memory = device.Allocate(MemoryMarshal.AsBytes<float>(values), "values"), results = device.Allocate(sums.Length * 4L, "sums");

        module.Kernel("read_memory").Start().With(memory).With(Count).With(results).Run(new Extent(Groups), new Extent(Items));
        device.Read(results, 0, MemoryMarshal.AsBytes(sums.AsSpan()));
        Assert.Equal(values.Sum(), sums.Sum());

        module.Kernel("multiply_add").Start().With(results).With(Rounds).With(0.5f).Run(new Extent(Groups), new Extent(Items));
        device.Read(results, 0, MemoryMarshal.AsBytes(sums.AsSpan()));
        for (int i = 0; i < sums.Length; i++)
            Assert.Equal(Enumerable.Range(0, 8).Sum(chain => Chained((i / Vector) + chain, Rounds)), sums[i]);
    }

    private static float Chained(float value, int rounds) => rounds == 0 ? value : Chained((value * 0.5f) + 0.5f, rounds - 1);
}
