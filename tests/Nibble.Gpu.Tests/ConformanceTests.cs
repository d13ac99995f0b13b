using Nibble.Core.Compute;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;

namespace Nibble.Gpu.Tests;

/// <summary>What one device computes, in all tests of a class, and how many cases they compared.</summary>
public sealed class ConformanceFixture : IDisposable
{
    /// <summary>Fewer than these would mean that a part of the suite went missing.</summary>
    private const int LeastCases = 2000;

    private readonly HashSet<string> _parts = [];
    private int _cases;
    private GpuBackend? _backend, _forced, _tiled;

    /// <summary>The device with its own choices.</summary>
    internal GpuBackend Backend => _backend ??= TestDevice.Backend();

    /// <summary>Runs a part of the suite.</summary>
    /// <param name="part">Its name.</param>
    /// <param name="cases">Cases that it has at least; fewer would mean that something went missing.</param>
    /// <param name="run">Runs it.</param>
    /// <param name="isForced">Whether items are cut otherwise than the device would.</param>
    /// <param name="isTiled">Whether all products are made in tiles.</param>
    internal void Run(string part, int cases, Action<Conformance> run, bool isForced = false, bool isTiled = false)
    {
        GpuBackend backend = isTiled ? _tiled ??= TestDevice.Backend(new GpuOptions { IsExact = true, TiledTokens = 1 })
            : isForced ? _forced ??= TestDevice.Backend(new GpuOptions { IsExact = true, RowVector = 4, ColumnSplit = 8, AttentionParts = 3, MaxBufferBytes = 1 << 20 })
            : Backend;
        using Conformance suite = new(backend);
        run(suite);
        Assert.InRange(suite.Cases, cases, int.MaxValue);
        _cases += suite.Cases;
        _parts.Add(isForced ? part + ", forced" : isTiled ? part + ", tiled" : part);
        TestContext.Current.TestOutputHelper?.WriteLine($"{part}: {suite.Cases} cases");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _backend?.Dispose();
        _forced?.Dispose();
        _tiled?.Dispose();
        if (_parts.Count < ConformanceTests.Parts) return;
        Console.WriteLine($"conformance on OpenCL: {_cases} cases");
        Assert.InRange(_cases, LeastCases, int.MaxValue);
    }
}

/// <summary>Every operation, format and awkward shape on an OpenCL device, against the reference. The number of cases is printed.</summary>
public class ConformanceTests(ConformanceFixture fixture) : IClassFixture<ConformanceFixture>
{
    // For items that are cut otherwise than the device would; the simulator has items of this kind with every format.
    private static readonly string[] s_forced = ["F16", "Q5_1", "Q8_0", "Q4_K", "IQ4_XS"];

    // With the cases that each has at least.
    private static readonly Dictionary<string, int> s_operations = new() { ["norms"] = 42, ["ropes"] = 12, ["elements"] = 170, ["routes"] = 84, ["recurrences"] = 36, ["choices"] = 14 };

    internal static int Parts => Formats.Count + Encodings.Count + Forced.Count + Operations.Count + (2 * KvFormats.Count) + Tiled.Count + 9;

    public static TheoryData<string> Formats => [.. BlockFormats.All.Select(format => format.Name)];

    public static TheoryData<string> Encodings => [.. EncodedSamples.Encodings(128, 33).Keys];

    public static TheoryData<string> Forced => [.. s_forced];

    public static TheoryData<string> Tiled => ["F32", "F16", "BF16", "Q4_0", "Q5_1", "Q8_0", "Q4_K", "Q6_K", "IQ4_NL", "MXFP4"];

    public static TheoryData<string> Operations => [.. s_operations.Keys];

    public static TheoryData<string> KvFormats => ["F32", "F16", "Q8_0", "Q4_0"];

    [Theory]
    [MemberData(nameof(Formats))]
    public void Products_of_a_format(string format) => fixture.Run(format, 88, suite => suite.Products(BlockFormats.Find(format)!));

    [Theory]
    [MemberData(nameof(Forced))]
    public void Products_of_a_format_with_other_items(string format) => fixture.Run(format, 88, suite => suite.Products(BlockFormats.Find(format)!), isForced: true);

    [Theory]
    [MemberData(nameof(Tiled))]
    public void Products_of_a_format_in_tiles(string format) => fixture.Run(format, 88, suite => suite.Products(BlockFormats.Find(format)!), isTiled: true);

    [Theory]
    [MemberData(nameof(Encodings))]
    public void Products_of_an_encoding(string encoding) => fixture.Run(encoding, 11, suite => suite.Products(EncodedSamples.Encodings(128, 33)[encoding]));

    [Fact]
    public void Products_and_rows_of_a_matrix_that_is_cut()
    {
        using GpuBackend backend = TestDevice.Backend(new GpuOptions { IsExact = true, MaxBufferBytes = 1 << 19 });
        using Conformance suite = new(backend);
        int before = backend.LiveBuffers;
        using Weight weight = backend.Upload(new TestWeights(BlockFormats.F32, 257, 768, 1));
        backend.Prepare(weight);
        Assert.Equal(before + 4, backend.LiveBuffers);
        suite.Product(new TestWeights(BlockFormats.F32, 257, 768, 1));
    }

    [Theory]
    [InlineData("F32")]
    [InlineData("Q4_K")]
    [InlineData("MXFP4")]
    public void Products_of_experts(string format) => fixture.Run("experts " + format, 8, suite => suite.Experts(BlockFormats.Find(format)!));

    [Theory]
    [InlineData("F32")]
    [InlineData("Q4_K")]
    [InlineData("MXFP4")]
    public void Products_of_experts_in_tiles(string format) => fixture.Run("experts " + format, 8, suite => suite.Experts(BlockFormats.Find(format)!), isTiled: true);

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void An_expert_that_is_not_there_makes_its_products_NaN(int tiledTokens)
    {
        using GpuBackend backend = TestDevice.Backend(new GpuOptions { IsExact = true, TiledTokens = tiledTokens });
        using Weight weight = backend.Upload(new TestWeights(BlockFormats.F32, 5, 8, 1, matrices: 2));
        int[] ids = [0, 2, 1, -1, 0, 1, 7, 1];
        Tensor x = TestDevice.Tensor(backend, 4, 8, 0, TestDevice.Random(new Random(1), 32)), y = TestDevice.Tensor(backend, 8, 5);
        backend.MatMulExperts(x, weight, TestDevice.Ids(backend, 4, 2, ids), y);
        float[] values = TestDevice.Read(backend, y);
        for (int i = 0; i < values.Length; i++)
            Assert.Equal(ids[i / 5] is not (0 or 1), float.IsNaN(values[i]));
    }

    [Fact]
    public void Inputs_are_rounded_by_stored_scales_as_the_reference_does() => fixture.Run("rounded inputs", 72, suite => suite.RoundedInputs(fixture.Backend));

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Products_of_experts_with_stored_scales_of_inputs(bool isTiled) => fixture.Run("rounded experts", 8, suite => suite.RoundedExperts(), isTiled: isTiled);

    [Theory]
    [MemberData(nameof(KvFormats))]
    public void Attention_over_keys_and_values(string format) => fixture.Run("attention " + format, 150, suite => suite.Attention(BlockFormats.Find(format)!));

    [Theory]
    [MemberData(nameof(KvFormats))]
    public void Attention_in_parts(string format) => fixture.Run("attention " + format, 150, suite => suite.Attention(BlockFormats.Find(format)!), isForced: true);

    [Theory]
    [MemberData(nameof(Operations))]
    public void Operations_on_rows_and_values(string operation) => fixture.Run(operation, s_operations[operation], suite =>
    {
        switch (operation)
        {
            case "norms":
                suite.Norms();
                break;
            case "ropes":
                suite.Ropes();
                break;
            case "elements":
                suite.Elements();
                break;
            case "choices":
                suite.Choices();
                break;
            case "routes":
                suite.Routes();
                break;
            default:
                suite.Recurrences();
                break;
        }
    });
}
