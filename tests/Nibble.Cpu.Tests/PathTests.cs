using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;
using System.Text.RegularExpressions;
using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Cpu.Tests;

/// <summary>The table of paths, and the kernels on the processors that the runtime's switches make of this one.</summary>
public partial class PathTests
{
    [Fact]
    public void Each_path_that_runs_can_be_forced_and_the_others_are_refused_with_a_list()
    {
        Assert.Equal(["avx512", "avxvnni", "avx2", "neon", "vector128"], CpuPaths.All.Select(p => p.Name));
        foreach (CpuPath path in CpuPaths.All)
        {
            if (path.IsSupported)
            {
                using CpuBackend backend = new(new CpuOptions { Path = path.Name.ToUpperInvariant() });
                Assert.Same(path, backend.Path);
                Assert.StartsWith("has ", path.Reason, StringComparison.Ordinal);
            }
            else
            {
                ArgumentException error = Assert.Throws<ArgumentException>(() => new CpuBackend(new CpuOptions { Path = path.Name }));
                Assert.Contains("needs " + path.Needs, error.Message, StringComparison.Ordinal);
                Assert.Contains("here run " + string.Join(", ", Cases.PathNames), error.Message, StringComparison.Ordinal);
            }
        }

        Assert.Contains("no CPU path 'sse9'", Assert.Throws<ArgumentException>(() => new CpuBackend(new CpuOptions { Path = "sse9" })).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => new CpuBackend(new CpuOptions { Threads = -1 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new CpuBackend(new CpuOptions { Threads = 1025 }));
    }

    [Theory]
    [InlineData("EnableAVX512", "avxvnni,avx2")]
    [InlineData("EnableAVX512,EnableAVXVNNI", "avx2")]
    [InlineData("EnableAVX2", "vector128")]
    [InlineData("EnableHWIntrinsic", "vector128")]
    public async Task Kernels_pass_their_tests_without_an_instruction_set(string switches, string expected)
    {
        Assert.SkipUnless(RuntimeInformation.ProcessArchitecture == Architecture.X64, "the switches take x86 instruction sets away.");
        Assert.SkipUnless(Avx2.IsSupported, "this processor has nothing that could be taken away.");
        string left = expected.Split(',').First(name => name == "vector128" || CpuPaths.All.Single(p => p.Name == name).IsSupported);

        // The test assembly is a program; it runs its kernel tests as a process of its own, on the runtime that runs this test.
        string host = Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", "..", OperatingSystem.IsWindows() ? "dotnet.exe" : "dotnet"));
        ProcessStartInfo start = new(host)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (string argument in new[] { Path.Combine(AppContext.BaseDirectory, "Nibble.Cpu.Tests.dll"), "-class", typeof(MatMulTests).FullName!, "-class", typeof(OperationTests).FullName!, "-class", typeof(AttentionTests).FullName!, "-class", typeof(PairProductTests).FullName!, "-class", typeof(KvPairsTests).FullName!,
            "-class", typeof(KernelTests).FullName!, "-class", typeof(BestPathTests).FullName!, "-noColor", "-noLogo" })
            start.ArgumentList.Add(argument);
        foreach (string name in switches.Split(','))
            start.Environment["DOTNET_" + name] = "0";
        start.Environment[BestPathTests.ExpectedVariable] = left;
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        string output = await process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        Match summary = Summary().Match(output);
        Assert.True(process.ExitCode == 0 && summary.Success, $"{switches}: exit {process.ExitCode}\n{output[Math.Max(0, output.Length - 4000)..]}\n{await errors}");
        Assert.InRange(int.Parse(summary.Groups[1].Value, System.Globalization.CultureInfo.InvariantCulture), 150, int.MaxValue);
    }

    [Fact]
    public void Every_format_and_use_has_a_named_kernel()
    {
        using CpuBackend fast = new(), exact = new(new CpuOptions { Exact = true });
        foreach (BlockFormat format in BlockFormats.All)
        {
            foreach (Operation operation in Enum.GetValues<Operation>().Where(o => o != Operation.KvCache))
            {
                Assert.True(fast.Supports(operation, format), $"{operation} of {format}");
                Assert.Contains(format.Name, fast.KernelName(operation, format), StringComparison.Ordinal);
            }

            Assert.Equal(format.Name is "F32" or "F16" or "Q8_0" or "Q4_0", fast.Supports(Operation.KvCache, format));
            Assert.Equal(format != BlockFormats.F32, fast.KernelName(Operation.KvCache, format).Contains("16-bit integers", StringComparison.Ordinal));
            Assert.Contains("float32", exact.KernelName(Operation.KvCache, format), StringComparison.Ordinal);
            Assert.Equal(format.BlockValues > 1 && format != BlockFormats.NVFP4, fast.KernelName(Operation.MatMul, format).Contains("8-bit activations", StringComparison.Ordinal));
            Assert.DoesNotContain("8-bit activations", exact.KernelName(Operation.MatMul, format), StringComparison.Ordinal);
        }

        Assert.Contains("exact", exact.Description, StringComparison.Ordinal);
        Assert.Equal("cpu", fast.Name);
        Assert.InRange(fast.AvailableBytes, 1, 1L << 46);
    }

    [Fact]
    public void Available_memory_is_read_from_meminfo()
    {
        using TempFolder folder = new();
        string file = folder.Write("meminfo", "MemTotal:       16000000 kB\nMemFree:          100000 kB\nMemAvailable:    5000000 kB\n"u8);
        Assert.Equal(5_000_000L * 1024, CpuBackend.MemAvailable(file));
        Assert.Null(CpuBackend.MemAvailable(folder.Write("other", "MemTotal: 1 kB\n"u8)));
        Assert.Null(CpuBackend.MemAvailable(folder.File("absent")));
    }

    [Fact]
    public void Upload_bytes_are_those_of_decoded_vectors_and_packed_matrices()
    {
        using CpuBackend backend = new(), exact = new(new CpuOptions { Exact = true });
        using TestWeights matrix = new(BlockFormats.Q4_K, 17, 512, 1), vector = new(BlockFormats.F16, 1, 100, 1);

        // Two times 16 rows of two blocks: 16 x 256 nibbles, and for each row two halves and two bytes for each 32.
        Assert.Equal(2 * 2 * (2048 + 64 + 256), backend.UploadBytes(matrix));
        Assert.Equal(0, exact.UploadBytes(matrix));
        Assert.Equal(400, backend.UploadBytes(vector));
        Assert.Throws<ArgumentException>(() => backend.Upload(matrix, [1, 2]));
    }

    [GeneratedRegex(@"Total: (\d+), Errors: 0, Failed: 0")]
    private static partial Regex Summary();
}

/// <summary>Which path is taken when none is asked for.</summary>
public class BestPathTests
{
    internal const string ExpectedVariable = "NIBBLE_EXPECTED_CPU_PATH";

    [Fact]
    public void The_best_path_is_the_first_that_runs_here()
    {
        string expected =
            Avx512BW.IsSupported && Vector512.IsHardwareAccelerated ? "avx512"
            : AvxVnni.IsSupported ? "avxvnni"
            : Avx2.IsSupported ? "avx2"
            : AdvSimd.Arm64.IsSupported ? "neon"
            : "vector128";
        using CpuBackend backend = new();
        Assert.Equal(expected, backend.Path.Name);
        Assert.Contains(expected, backend.Description, StringComparison.Ordinal);
        if (Environment.GetEnvironmentVariable(ExpectedVariable) is { } required) Assert.Equal(required, backend.Path.Name);
    }
}
