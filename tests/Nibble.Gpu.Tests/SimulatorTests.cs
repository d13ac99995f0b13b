using System.Diagnostics;
using System.Runtime.InteropServices;
using Nibble.Core.Formats;
using Nibble.Gpu.Drivers;

namespace Nibble.Gpu.Tests;

/// <summary>Every kernel in Oclgrind, a simulator that sees data races, reads of what was never written and accesses outside of buffers.</summary>
public class SimulatorTests
{
    private const string Library = "/usr/lib/oclgrind/liboclgrind-rt.so";

    public static TheoryData<string> Parts => [.. SimulatedKernels.Parts.Keys];

    [Theory]
    [MemberData(nameof(Parts))]
    public async Task A_simulator_finds_nothing_wrong(string part)
    {
        (string findings, string output, bool hasPassed) = await Simulate(part);
        Assert.True(findings.Length == 0, findings);
        Assert.True(hasPassed, output);
    }

    [Fact]
    public async Task A_simulator_sees_a_race_and_a_write_outside_of_a_buffer()
    {
        (string findings, _, _) = await Simulate(SimulatedKernels.Wrong);
        Assert.Contains("data race", findings, StringComparison.Ordinal);
        Assert.Contains("Invalid write", findings, StringComparison.Ordinal);
    }

    private static async Task<(string Findings, string Output, bool HasPassed)> Simulate(string part)
    {
        Installed.OpenCl(File.Exists(Library), $"needs Oclgrind ({Library}); on Debian and Ubuntu the package oclgrind has it");
        using TempFolder folder = new();
        string log = folder.File("log");

        // The test assembly is a program; it runs the kernels as a process of its own, which loads the simulator in the place of OpenCL.
        string host = Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", "..", "dotnet"));
        ProcessStartInfo start = new(host) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in new[] { Path.Combine(AppContext.BaseDirectory, "Nibble.Gpu.Tests.dll"), "-class", typeof(SimulatedKernels).FullName!, "-noColor", "-noLogo" })
            start.ArgumentList.Add(argument);
        start.Environment["NIBBLE_OPENCL_LIBRARY"] = Library;
        start.Environment["NIBBLE_CACHE"] = folder.Root;
        start.Environment[SimulatedKernels.Variable] = part;
        start.Environment["OCLGRIND_DATA_RACES"] = "1";
        start.Environment["OCLGRIND_CHECK_API"] = "1";
        start.Environment["OCLGRIND_LOG"] = log;
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        string output = await process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        string findings = File.Exists(log) ? File.ReadAllText(log) : string.Empty;
        bool hasPassed = process.ExitCode == 0 && output.Contains("Total: 1, Errors: 0, Failed: 0, Skipped: 0", StringComparison.Ordinal);
        return (findings, $"exit {process.ExitCode}\n{output}\n{await errors}", hasPassed);
    }
}

/// <summary>What <see cref="SimulatorTests"/> runs in the simulator, one part a process. Elsewhere it is skipped.</summary>
public class SimulatedKernels
{
    internal const string Variable = "NIBBLE_SIMULATED_PART";

    /// <summary>A part that is wrong.</summary>
    internal const string Wrong = "wrong";

    internal static Dictionary<string, Action> Parts { get; } = new()
    {
        ["norms"] = () => Run(suite => suite.Norms()),
        ["elements"] = () => Run(suite => suite.Elements()),
        ["ropes"] = () => Run(suite => suite.Ropes()),
        ["routes"] = () => Run(suite => suite.Routes()),
        ["choices"] = () => Run(suite => suite.Choices()),
        ["recurrences"] = () => Run(suite => suite.Recurrences()),
        ["attention F32"] = () => Run(suite => suite.Attention(BlockFormats.F32)),
        ["attention F16"] = () => Run(suite => suite.Attention(BlockFormats.F16)),
        ["attention Q8_0"] = () => Run(suite => suite.Attention(BlockFormats.Q8_0)),
        ["attention Q4_0"] = () => Run(suite => suite.Attention(BlockFormats.Q4_0)),
        ["attention F16 on processors"] = () => Run(suite => suite.Attention(BlockFormats.F16), isProcessor: true),
        ["products of floats"] = () => Products(BlockFormats.F32, BlockFormats.F16, BlockFormats.BF16),
        ["products of blocks of 32"] = () => Products(BlockFormats.Q4_0, BlockFormats.Q4_1, BlockFormats.Q5_0, BlockFormats.Q5_1, BlockFormats.Q8_0),
        ["products of tables"] = () => Products(BlockFormats.IQ4_NL, BlockFormats.MXFP4, BlockFormats.NVFP4),
        ["products of blocks of 256"] = () => Products(BlockFormats.Q2_K, BlockFormats.Q3_K, BlockFormats.Q4_K, BlockFormats.Q5_K, BlockFormats.Q6_K, BlockFormats.IQ4_XS),
        ["products of encodings"] = () => Run(suite =>
        {
            foreach (string name in new[] { "nf4", "int4", "int8-zeros", "int8-static" })
                suite.Products(EncodedSamples.Encodings(64, 17)[name]);
        }),
        ["rounded inputs"] = () => Run((suite, backend) => suite.RoundedInputs(backend)),
        ["experts"] = () => Run(suite => suite.Experts(BlockFormats.F32)),
        ["tiles of floats"] = () => Run(suite => suite.Products(BlockFormats.F16), isTiled: true),
        ["tiles of blocks"] = () => Run(suite => suite.Products(BlockFormats.Q4_K), isTiled: true),
        ["tiles of experts"] = () => Run(suite => suite.Experts(BlockFormats.F32), isTiled: true),
        ["peaks"] = PeakKernelTests.Check,
        ["norms of sub-groups"] = () => Run(suite => suite.Norms(), features: GpuFeatures.SubGroups),
        ["choices of sub-groups"] = () => Run(suite => suite.Choices(), features: GpuFeatures.SubGroups),
        ["attention of sub-groups"] = () => Run(suite => suite.Attention(BlockFormats.F16), features: GpuFeatures.SubGroups),
        ["attention of sub-groups on processors"] = () => Run(suite => suite.Attention(BlockFormats.F16), isProcessor: true, features: GpuFeatures.SubGroups),
        ["packed products"] = () => Products(GpuFeatures.PackedDot, BlockFormats.Q4_0, BlockFormats.Q5_1, BlockFormats.Q8_0, BlockFormats.Q4_K, BlockFormats.Q6_K),
        ["packed products of experts"] = () => Run(suite => suite.Experts(BlockFormats.Q4_1), features: GpuFeatures.PackedDot),
        ["packed tiles"] = () => Products(GpuFeatures.PackedDot, isTiled: true, BlockFormats.Q5_0, BlockFormats.Q8_0, BlockFormats.Q6_K),
        ["packed tiles of experts"] = () => Run(suite => suite.Experts(BlockFormats.Q4_1), isTiled: true, features: GpuFeatures.PackedDot),
        ["half tiles"] = () => Products(GpuFeatures.Half, isTiled: true, BlockFormats.IQ4_NL, BlockFormats.Q8_0, BlockFormats.Q6_K),
        ["half tiles of experts"] = () => Run(suite => suite.Experts(BlockFormats.MXFP4), isTiled: true, features: GpuFeatures.Half),
    };

    [Fact]
    public void Run_one_part()
    {
        string? part = Environment.GetEnvironmentVariable(Variable);
        Assert.SkipWhen(part is null, $"runs in Oclgrind only, where {nameof(SimulatorTests)} starts it");
        if (part == Wrong) RunWrongKernel();
        else Parts[part!]();
    }

    private static void RunWrongKernel()
    {
        using GpuDevice device = TestDevice.Open();
        using GpuModule module = device.Build("wrong", "__kernel void wrong(__global int* x) { x[0] = get_global_id(0); if (get_global_id(0) == 0) x[99] = 1; }", []);
        using GpuBuffer x = device.Allocate(64, "x");
        module.Kernel("wrong").Start().With(x).Run(new Extent(2), new Extent(4));
        device.Finish();
    }

    private static void Products(params BlockFormat[] formats) => Products(GpuFeatures.None, isTiled: false, formats);

    private static void Products(GpuFeatures features, params BlockFormat[] formats) => Products(features, isTiled: false, formats);

    private static void Products(GpuFeatures features, bool isTiled, params BlockFormat[] formats) => Run(
        suite =>
        {
            foreach (BlockFormat format in formats)
                suite.Products(format);
        },
        isTiled: isTiled,
        features: features);

    // As a GPU would: items that share columns, and parts of attention.
    private static void Run(Action<Conformance> run, bool isProcessor = false, bool isTiled = false, GpuFeatures features = GpuFeatures.None) => Run((suite, _) => run(suite), isProcessor, isTiled, features);

    private static void Run(Action<Conformance, GpuBackend> run, bool isProcessor = false, bool isTiled = false, GpuFeatures features = GpuFeatures.None)
    {
        using GpuBackend backend = TestDevice.Backend(new GpuOptions
        {
            RowVector = isProcessor ? 16 : 4, ColumnSplit = isProcessor ? 1 : 2, AttentionParts = 2, TiledTokens = isTiled ? 1 : 0, CachePrograms = false, Features = features, EmulatesFeatures = true,
        });
        using Conformance suite = new(backend, isSmall: true, isTiled: isTiled);
        run(suite, backend);
        Assert.InRange(suite.Cases, 1, int.MaxValue);
    }
}
