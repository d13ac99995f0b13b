using Nibble.Core.Compute;
using Nibble.Gpu;

namespace Nibble.Tests;

public class DevicesTests
{
    [Theory]
    [InlineData("auto", null)]
    [InlineData("cpu", "cpu")]
    [InlineData("reference", "reference")]
    public void A_usable_device_opens(string name, string? expected)
    {
        using Backend backend = Devices.Open(name);
        Assert.Equal(expected ?? Devices.Auto(out _).Split(':')[0], backend.Name);
    }

    [Theory]
    [InlineData("cuda", "no CUDA backend")]
    [InlineData("cuda:0", "no CUDA backend")]
    [InlineData("opencl:99", "'opencl:99'")]
    [InlineData("opencl:x", "'opencl:x'")]
    [InlineData("openclx", "there is no device 'openclx'")]
    [InlineData("tpu", "there is no device 'tpu'")]
    [InlineData("cpu:1", "there is no device 'cpu:1'")]
    public void Another_device_is_refused_with_the_reason_and_the_usable_ones(string name, string reason)
    {
        string message = Assert.Throws<ArgumentException>(() => Devices.Open(name)).Message;
        Assert.Contains(reason, message, StringComparison.Ordinal);
        Assert.Contains("cpu, reference", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Layers_on_a_gpu_are_refused_where_there_is_none()
    {
        Assert.Contains("--gpu-layers", Assert.Throws<ArgumentException>(() => Devices.Open("cpu", new DeviceOptions { GpuLayers = 3 })).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => Devices.Open("cpu", new DeviceOptions { GpuLayers = -1 }));
        Devices.Open("cpu", new DeviceOptions { GpuLayers = 0 }).Dispose();
    }

    [Fact]
    public void A_device_of_OpenCL_opens_or_the_list_says_why_not()
    {
        DeviceInfo[] devices = [.. Devices.All.Where(device => device.Name.StartsWith("opencl", StringComparison.Ordinal))];
        Assert.NotEmpty(devices);
        foreach (DeviceInfo device in devices)
        {
            if (!device.IsUsable)
            {
                Assert.Contains(device.Description, Assert.Throws<ArgumentException>(() => Devices.Open(device.Name)).Message, StringComparison.Ordinal);
                continue;
            }

            using Backend backend = Devices.Open(device.Name);
            Assert.Equal("opencl", backend.Name);
            string[] text = device.Description.Split("; features: ");
            Assert.Contains(text[0], backend.Description, StringComparison.Ordinal);
            Assert.Contains($"features {GpuFeatureNames.Line(device.UsedFeatures)}", backend.Description, StringComparison.Ordinal);
            Assert.Equal($"{GpuFeatureNames.Line(device.Features)}, used: {GpuFeatureNames.Line(device.UsedFeatures)}", text[1]);
            Assert.Contains("--threads", Assert.Throws<ArgumentException>(() => Devices.Open(device.Name, new DeviceOptions { Threads = 2 })).Message, StringComparison.Ordinal);
            Assert.Contains("--cpu-path", Assert.Throws<ArgumentException>(() => Devices.Open(device.Name, new DeviceOptions { CpuPath = "avx2" })).Message, StringComparison.Ordinal);
            Assert.Contains("--cache-weights", Assert.Throws<ArgumentException>(() => Devices.Open(device.Name, new DeviceOptions { CacheWeights = true })).Message, StringComparison.Ordinal);
            Assert.Contains("--gpu-layers", Assert.Throws<ArgumentException>(() => Devices.Open(device.Name, new DeviceOptions { GpuLayers = 0 })).Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void The_reference_refuses_what_it_would_ignore()
    {
        Assert.Throws<ArgumentException>(() => Devices.Open("reference", new DeviceOptions { CpuPath = "vector128" }));
        Devices.Open("reference", new DeviceOptions { Threads = 1 }).Dispose();
    }
}
