using System.Diagnostics;
using System.Runtime.InteropServices;
using Nibble.Gpu.Drivers;
using Nibble.Gpu.Drivers.OpenCL;

namespace Nibble.Gpu.Tests;

/// <summary>Devices, memory, programs and launches of the OpenCL driver.</summary>
public class DriverTests
{
    private const string AddOne = "__kernel void add_one(__global int* x, int n, long step, float scale, __local int* scratch) { int i = get_global_id(0); if (i < n) x[i] = (int)(x[i] * scale) + (int)step; }";

    [Fact]
    public void A_device_says_what_it_is_and_what_it_can()
    {
        using GpuDevice device = TestDevice.Open();
        GpuDeviceInfo info = device.Info;
        Assert.Equal("opencl:0", info.DeviceName);
        Assert.Null(info.Problem);
        Assert.NotEqual("unknown", info.Name);
        Assert.InRange(info.MemoryBytes, 1 << 20, long.MaxValue);
        Assert.InRange(info.MaxBufferBytes, 1 << 20, info.MemoryBytes);
        Assert.InRange(info.LocalBytes, 16 << 10, 1 << 30);
        Assert.InRange(info.MaxGroupItems, 1, int.MaxValue);
        Assert.InRange(info.ComputeUnits, 1, 65536);
        Assert.StartsWith("OpenCL C", info.LanguageVersion, StringComparison.Ordinal);
        Assert.Contains(info.Name, info.ToString(), StringComparison.Ordinal);
        Assert.Equal(info, GpuDevices.OpenCl(out string? problem)[0]);
        Assert.Null(problem);
    }

    [Fact]
    public void Memory_keeps_what_is_written_copied_and_cleared()
    {
        using GpuDevice device = TestDevice.Open();
        byte[] values = new byte[3 << 20];
        new Random(1).NextBytes(values);
        using GpuBuffer a = device.Allocate(values.Length, "a"), b = device.Allocate(values.Length, "b");
        device.Clear(b);

        // Pieces that go through the staging memory, and wrap around it, and one that does not.
        for (int at = 0; at < 1 << 20; at += 1000)
            device.Write(a, at, values.AsSpan(at, Math.Min(1000, (1 << 20) - at)));
        device.Write(a, 1 << 20, values.AsSpan(1 << 20));
        for (int round = 0; round < 9; round++)
            device.Write(a, 5, values.AsSpan(5, 1 << 20));
        device.Copy(a, 100, b, 200, 1 << 20);
        byte[] read = new byte[values.Length], copy = new byte[values.Length];
        device.Read(a, 0, read);
        device.Read(b, 0, copy);
        Assert.True(values.AsSpan().SequenceEqual(read));
        Assert.True(copy.AsSpan(0, 200).IndexOfAnyExcept((byte)0) < 0);
        Assert.True(copy.AsSpan(200, 1 << 20).SequenceEqual(values.AsSpan(100, 1 << 20)));
        Assert.True(copy.AsSpan(200 + (1 << 20)).IndexOfAnyExcept((byte)0) < 0);
        Assert.Throws<ArgumentOutOfRangeException>(() => device.Write(a, values.Length - 1, new byte[32]));
        Assert.Throws<ArgumentOutOfRangeException>(() => device.Read(a, -1, new byte[1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => device.Copy(a, 0, b, 1, values.Length));
    }

    [Fact]
    public void Buffers_are_counted_and_bounded()
    {
        using GpuDevice device = TestDevice.Open(bufferLimit: 4096);
        Assert.Equal((0, 0L), (device.LiveBuffers, device.LiveBytes));
        GpuBuffer a = device.Allocate(1000, "a"), b = device.Allocate(0, "b");
        Assert.Equal((2, 1008 + 16), (device.LiveBuffers, device.LiveBytes));
        a.Dispose();
        a.Dispose();
        Assert.Equal((1, 16L), (device.LiveBuffers, device.LiveBytes));
        b.Dispose();
        Assert.Equal((0, 0L), (device.LiveBuffers, device.LiveBytes));
        Assert.Throws<ObjectDisposedException>(() => device.Write(a, 0, new byte[4]));
        string message = Assert.Throws<InsufficientMemoryException>(() => device.Allocate(4097, "the weights")).Message;
        Assert.Contains("the weights takes 4,097 bytes", message, StringComparison.Ordinal);
        Assert.Contains(device.Info.Name, message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_closed_device_has_no_memory_and_still_counts_what_nobody_freed()
    {
        GpuDevice device = TestDevice.Open();
        GpuBuffer kept = device.Allocate(100, "kept"), filled = device.Allocate(new byte[32], "filled"), freed = device.Allocate(100, "freed");
        device.Clear(kept);
        freed.Dispose();
        Assert.False(device.IsClosed);
        device.Dispose();
        device.Dispose();
        Assert.True(device.IsClosed);
        Assert.Equal((2, 112L + 32), (device.LiveBuffers, device.LiveBytes));
        Assert.Throws<ObjectDisposedException>(() => device.Write(kept, 0, new byte[4]));
        Assert.Throws<ObjectDisposedException>(() => device.Read(kept, 0, new byte[4]));
        Assert.Throws<ObjectDisposedException>(() => device.Copy(kept, 0, filled, 0, 4));
        Assert.Throws<ObjectDisposedException>(() => device.Clear(kept));
        Assert.Throws<ObjectDisposedException>(() => device.Allocate(16, "more"));
        Assert.Throws<ObjectDisposedException>(() => device.Build("test", AddOne, []));
        filled.Dispose();
        Assert.Equal((1, 112L), (device.LiveBuffers, device.LiveBytes));
        kept.Dispose();
        kept.Dispose();
        Assert.Equal((0, 0L), (device.LiveBuffers, device.LiveBytes));
    }

    [Fact]
    public void A_kernel_runs_with_its_arguments()
    {
        using GpuDevice device = TestDevice.Open();
        using GpuModule module = device.Build("test", AddOne, []);
        using GpuBuffer x = device.Allocate(400, "x");
        device.Write(x, 0, MemoryMarshal.AsBytes<int>(Enumerable.Range(0, 100).ToArray()));
        GpuKernel kernel = module.Kernel("add_one");
        Assert.Same(kernel, module.Kernel("add_one"));
        kernel.Start().With(x).With(70).With(5L).With(2f).WithLocal(16).Run(new Extent(10), new Extent(8));
        int[] values = new int[100];
        device.Read(x, 0, MemoryMarshal.AsBytes(values.AsSpan()));
        Assert.Equal(Enumerable.Range(0, 100).Select(i => i < 70 ? (i * 2) + 5 : i), values);
        Assert.Contains("takes 5 arguments and was given 1", Assert.Throws<InvalidOperationException>(() => kernel.Start().With(x).Run(new Extent(1), new Extent(1))).Message, StringComparison.Ordinal);
        kernel.Start().With(x).With(70).With(5L).With(2f).WithLocal(16).Run(new Extent(0), new Extent(8));
        Assert.Contains("clCreateKernel of absent in test failed with CL_INVALID_KERNEL_NAME", Assert.Throws<GpuException>(() => module.Kernel("absent")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_kernel_that_does_not_build_names_device_module_and_log()
    {
        using GpuDevice device = TestDevice.Open();
        string message = Assert.Throws<GpuException>(() => device.Build("broken", "__kernel void f(__global int* x) { x[0] = missing_name; }", ["A=1"])).Message;
        Assert.Contains(device.Info.Name, message, StringComparison.Ordinal);
        Assert.Contains("the kernels of broken do not build", message, StringComparison.Ordinal);
        Assert.Contains("missing_name", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Programs_are_kept_and_damaged_ones_built_again()
    {
        using TempFolder folder = new();
        ProgramCache cache = new(Path.Combine(folder.Root, "opencl"));
        Run();
        string file = Assert.Single(Directory.GetFiles(Path.Combine(folder.Root, "opencl")));
        byte[] program = File.ReadAllBytes(file);
        DateTime written = File.GetLastWriteTimeUtc(file);
        Run();
        Assert.Equal(written, File.GetLastWriteTimeUtc(file));

        // Cut short; changed; a program that is whole and none of the driver's.
        File.WriteAllBytes(file, program[..(program.Length / 2)]);
        Run();
        Assert.NotNull(cache.Read(Path.GetFileName(file)));
        program[^1] ^= 1;
        File.WriteAllBytes(file, program);
        Assert.Null(cache.Read(Path.GetFileName(file)));
        cache.Write(Path.GetFileName(file), [1, 2, 3]);
        Assert.Equal([1, 2, 3], cache.Read(Path.GetFileName(file)));
        Run();
        Assert.NotEqual([1, 2, 3], cache.Read(Path.GetFileName(file)));

        void Run()
        {
            using GpuDevice device = TestDevice.Open(cache);
            using GpuModule module = device.Build("test", AddOne, []);
            using GpuBuffer x = device.Allocate(16, "x");
            device.Clear(x);
            module.Kernel("add_one").Start().With(x).With(1).With(7L).With(1f).WithLocal(16).Run(new Extent(1), new Extent(1));
            int[] value = [0];
            device.Read(x, 0, MemoryMarshal.AsBytes(value.AsSpan()));
            Assert.Equal(7, value[0]);
        }
    }

    [Fact]
    public void A_program_s_key_depends_on_device_driver_options_and_source()
    {
        GpuDeviceInfo info = Info();
        string[] keys =
        [
            ProgramCache.Key(info, "a", "b"), ProgramCache.Key(info, "ab", ""), ProgramCache.Key(info, "a", "c"), ProgramCache.Key(info with { DriverVersion = "2" }, "a", "b"),
            ProgramCache.Key(info with { Name = "other" }, "a", "b"), ProgramCache.Key(info with { Platform = "other" }, "a", "b"),
        ];
        Assert.Equal(keys.Length, keys.Distinct().Count());
        Assert.Equal(keys[0], ProgramCache.Key(info with { Index = 5 }, "a", "b"));
    }

    [Fact]
    public void A_missing_library_is_one_line()
    {
        (nint handle, string? problem) = OpenClLibrary.Search(null, ["libno-such-opencl.so.7", "libno-such-opencl.so"]);
        Assert.Equal(0, handle);
        Assert.Contains("libno-such-opencl.so.7 or libno-such-opencl.so", problem, StringComparison.Ordinal);
        Assert.Contains("NIBBLE_OPENCL_LIBRARY", problem, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', problem!);
        Assert.Contains("chosen.so (NIBBLE_OPENCL_LIBRARY) could not be loaded", OpenClLibrary.Search("chosen.so", OpenClLibrary.Names).Problem, StringComparison.Ordinal);
    }

    [Fact]
    public void Tests_without_OpenCL_are_skipped_and_fail_where_it_has_to_be_there()
    {
        Installed.OpenCl(true, "nothing is missing", "1");
        Assert.Contains("$XunitDynamicSkip$no device", Reason(null), StringComparison.Ordinal);
        Assert.Contains("$XunitDynamicSkip$no device", Reason("0"), StringComparison.Ordinal);
        Assert.StartsWith("no device; NIBBLE_REQUIRE_OPENCL is 1", Reason("1"), StringComparison.Ordinal);

        // Not Assert.Throws, which lets a skip through.
        static string Reason(string? required)
        {
            try
            {
                Installed.OpenCl(false, "no device", required);
                return "nothing";
            }
            catch (Exception error)
            {
                return error.Message;
            }
        }
    }

    [Fact]
    public void A_library_that_is_no_OpenCL_is_told_so()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "libc.so.6 is Linux's");
        Assert.Contains("libc.so.6 has no function clEnqueueFillBuffer", OpenClLibrary.Search("libc.so.6", []).Problem, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0, "CL_SUCCESS")]
    [InlineData(-4, "CL_MEM_OBJECT_ALLOCATION_FAILURE")]
    [InlineData(-11, "CL_BUILD_PROGRAM_FAILURE")]
    [InlineData(-19, "CL_KERNEL_ARG_INFO_NOT_AVAILABLE")]
    [InlineData(-30, "CL_INVALID_VALUE")]
    [InlineData(-46, "CL_INVALID_KERNEL_NAME")]
    [InlineData(-54, "CL_INVALID_WORK_GROUP_SIZE")]
    [InlineData(-68, "CL_INVALID_DEVICE_PARTITION_COUNT")]
    [InlineData(-1001, "CL_PLATFORM_NOT_FOUND_KHR")]
    [InlineData(-25, "OpenCL error -25")]
    [InlineData(-9999, "OpenCL error -9999")]
    public void Errors_have_the_names_of_the_standard(int number, string name) => Assert.Equal(name, OpenClError.Name(number));

    [Fact]
    public void A_device_that_is_not_there_is_refused_with_those_that_are()
    {
        TestDevice.Open().Dispose();
        Assert.Contains("there is no OpenCL device 99; there are 0 to", Assert.Throws<GpuException>(() => new GpuBackend(99)).Message, StringComparison.Ordinal);
        Assert.Contains("there is no OpenCL device -1", Assert.Throws<GpuException>(() => new GpuBackend(-1)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Options_out_of_range_are_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new GpuBackend(0, new GpuOptions { RowVector = 3 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new GpuBackend(0, new GpuOptions { ColumnSplit = 32 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new GpuBackend(0, new GpuOptions { AttentionParts = 65 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new GpuBackend(0, new GpuOptions { MaxBufferBytes = -1 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new GpuBackend(0, new GpuOptions { TiledTokens = -1 }));
    }

    private static GpuDeviceInfo Info() => new()
    {
        Driver = "opencl", Index = 0, Name = "n", Platform = "p", DriverVersion = "1", LanguageVersion = "OpenCL C 1.2", IsProcessor = false, MemoryBytes = 1, MaxBufferBytes = 1, LocalBytes = 1, CacheBytes = 0,
        MaxGroupItems = 1, ComputeUnits = 1, Extensions = "",
    };
}
