using Nibble.Core.Compute;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Gpu.Weights;

namespace Nibble.Gpu.Tests;

/// <summary>What kernels do with a device's features: with stand-ins, which every device runs, and with the device's own where it has them.</summary>
public class FeatureTests
{
    private static readonly string[] s_packed = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "TQ1_0", "TQ2_0"];

    private static readonly string[] s_half = [.. s_packed, "IQ4_NL", "MXFP4", "NVFP4", "IQ4_XS"];

    // The device's own functions are tested with all formats, where it has them; what their bodies do otherwise, with stand-ins and one format of each kind of codes and scales.
    public static TheoryData<string> Packed => ["Q4_0", "Q5_1", "Q8_0", "Q2_K", "Q4_K", "Q6_K"];

    public static TheoryData<string> PackedTiles => ["Q5_0", "Q8_0", "Q5_K", "Q6_K"];

    public static TheoryData<string> HalfTiles => ["Q4_1", "Q8_0", "Q6_K", "IQ4_NL", "MXFP4"];

    public static TheoryData<string> KvFormats => ["F16", "Q8_0"];

    [Fact]
    public void Formats_use_what_suits_their_codes()
    {
        using GpuBackend backend = TestDevice.Backend(new GpuOptions { EmulatesFeatures = true }), half = TestDevice.Backend(new GpuOptions { EmulatesFeatures = true, Features = GpuFeatures.Half });
        foreach (BlockFormat format in BlockFormats.All)
        {
            if (PlaneReader.OfFormat(format)?.Planes is not { } planes) continue;
            bool isPacked = s_packed.Contains(format.Name), hasCodes = s_half.Contains(format.Name);
            Assert.Equal(isPacked ? GpuFeatures.PackedDot : GpuFeatures.None, backend.Using(planes, 256, isTiled: false));
            Assert.Equal(isPacked ? GpuFeatures.PackedDot : hasCodes ? GpuFeatures.Half : GpuFeatures.None, backend.Using(planes, 256, isTiled: true));
            Assert.Equal(GpuFeatures.None, half.Using(planes, 256, isTiled: false));
            Assert.Equal(hasCodes ? GpuFeatures.Half : GpuFeatures.None, half.Using(planes, 256, isTiled: true));
            Assert.Equal(GpuFeatures.None, backend.Using(planes, 48, isTiled: true));
            Assert.Equal(isPacked, backend.KernelName(Operation.MatMul, format).EndsWith("x 8 bits", StringComparison.Ordinal));
            Assert.Equal(hasCodes, half.KernelName(Operation.MatMul, format).EndsWith("x float32, or half in tiles", StringComparison.Ordinal));
        }
    }

    [Theory]
    [MemberData(nameof(Packed))]
    public void Products_of_packed_bytes(string format) => Run(GpuFeatures.PackedDot, suite => suite.Products(BlockFormats.Find(format)!));

    [Theory]
    [InlineData("Q4_1")]
    [InlineData("Q6_K")]
    public void Products_of_packed_bytes_with_other_items(string format) => Run(GpuFeatures.PackedDot, suite => suite.Products(BlockFormats.Find(format)!), Cut.Forced);

    [Theory]
    [MemberData(nameof(PackedTiles))]
    public void Products_of_packed_bytes_in_tiles(string format) => Run(GpuFeatures.PackedDot, suite => suite.Products(BlockFormats.Find(format)!), Cut.Tiled);

    [Theory]
    [InlineData("int4")]
    [InlineData("int8-zeros")]
    public void Products_of_an_encoding_s_packed_bytes(string encoding) => Run(GpuFeatures.PackedDot, suite => suite.Products(EncodedSamples.Encodings(128, 33)[encoding]));

    [Theory]
    [MemberData(nameof(HalfTiles))]
    public void Products_in_half_arithmetic(string format) => Run(GpuFeatures.Half, suite => suite.Products(BlockFormats.Find(format)!), Cut.Tiled);

    [Fact]
    public void Products_of_experts()
    {
        Run(GpuFeatures.PackedDot, suite => suite.Experts(BlockFormats.Q4_1));
        Run(GpuFeatures.PackedDot, suite => suite.Experts(BlockFormats.Q4_1), Cut.Tiled);
        Run(GpuFeatures.Half, suite => suite.Experts(BlockFormats.Q4_1), Cut.Tiled);
    }

    [Theory]
    [MemberData(nameof(KvFormats))]
    public void Attention_by_sub_groups(string format) => Run(GpuFeatures.SubGroups, suite => suite.Attention(BlockFormats.Find(format)!));

    [Theory]
    [MemberData(nameof(KvFormats))]
    public void Attention_by_sub_groups_in_parts(string format) => Run(GpuFeatures.SubGroups, suite => suite.Attention(BlockFormats.Find(format)!), Cut.Forced);

    [Fact]
    public void Norms_by_sub_groups() => Run(GpuFeatures.SubGroups, suite => suite.Norms());

    [Fact]
    public void Choices_by_sub_groups() => Run(GpuFeatures.SubGroups, suite => suite.Choices());

    [Fact]
    public void The_device_s_own_sub_groups()
    {
        Needed(GpuFeatures.SubGroups);
        Run(GpuFeatures.SubGroups, Reductions, isEmulated: false);
        Run(GpuFeatures.SubGroups, Reductions, Cut.Forced, isEmulated: false);

        static void Reductions(Conformance suite)
        {
            suite.Norms();
            suite.Choices();
            suite.Attention(BlockFormats.F16);
            suite.Attention(BlockFormats.Q8_0);
        }
    }

    [Fact]
    public void The_device_s_own_packed_products()
    {
        Needed(GpuFeatures.PackedDot);
        foreach (Cut cut in Enum.GetValues<Cut>())
        {
            Run(GpuFeatures.PackedDot, Products, cut, isEmulated: false);
            Run(GpuFeatures.PackedDot, suite => suite.Experts(BlockFormats.Q4_K), cut, isEmulated: false);
        }

        static void Products(Conformance suite)
        {
            foreach (string format in s_packed)
                suite.Products(BlockFormats.Find(format)!);
            suite.Products(EncodedSamples.Encodings(128, 33)["int4"]);
            suite.Products(EncodedSamples.Encodings(128, 33)["int8-zeros"]);
        }
    }

    [Fact]
    public void The_device_s_own_half_arithmetic()
    {
        Needed(GpuFeatures.Half);
        Run(
            GpuFeatures.Half,
            suite =>
            {
                foreach (string format in s_half)
                    suite.Products(BlockFormats.Find(format)!);
                suite.Experts(BlockFormats.Q4_K);
            },
            Cut.Tiled,
            isEmulated: false);
    }

    [Theory]
    [InlineData(GpuFeatures.PackedDot, 0)]
    [InlineData(GpuFeatures.PackedDot, 1)]
    [InlineData(GpuFeatures.Half, 1)]
    public void Inputs_that_are_no_numbers_make_their_token_s_products_NaN_and_zeros_stay_zeros(GpuFeatures features, int tiledTokens)
    {
        using GpuBackend backend = TestDevice.Backend(new GpuOptions { Features = features, EmulatesFeatures = true, TiledTokens = tiledTokens });
        using Weight weight = backend.Upload(new TestWeights(BlockFormats.Q4_0, 5, 64, 1));
        float[] x = TestDevice.Random(new Random(1), 5 * 64);
        x[7] = float.NaN;
        x[64 + 40] = float.PositiveInfinity;
        x.AsSpan(2 * 64, 64).Clear();
        x.AsSpan(3 * 64, 64).Fill(1e-38f);
        Tensor y = TestDevice.Tensor(backend, 5, 5, 1);
        backend.MatMul(TestDevice.Tensor(backend, 5, 64, 0, x), weight, y);
        float[] values = TestDevice.Read(backend, y);
        Assert.All(values[..10], value => Assert.True(float.IsNaN(value)));
        Assert.All(values[10..20], value => Assert.Equal(0, value));
        Assert.All(values[20..], value => Assert.True(float.IsFinite(value)));
    }

    private static void Needed(GpuFeatures features)
    {
        IReadOnlyList<GpuDeviceInfo> devices = GpuDevices.OpenCl(out string? problem);
        Installed.OpenCl(devices.Count > 0, $"there is no OpenCL device: {problem}");
        Assert.SkipUnless(devices[0].Features.HasFlag(features), $"device '{devices[0].Name}' has no {GpuFeatureNames.Line(features)}; stand-ins take their place in other tests");
    }

    private static void Run(GpuFeatures features, Action<Conformance> run, Cut cut = Cut.Own, bool isEmulated = true)
    {
        GpuOptions options = new() { Features = features, EmulatesFeatures = isEmulated, TiledTokens = cut == Cut.Tiled ? 1 : 0 };
        if (cut == Cut.Forced) options = options with { RowVector = 4, ColumnSplit = 8, AttentionParts = 3, MaxBufferBytes = 1 << 20 };
        using GpuBackend backend = TestDevice.Backend(options);
        using Conformance suite = new(backend, isTiled: cut == Cut.Tiled);
        run(suite);
        Assert.InRange(suite.Cases, 1, int.MaxValue);
    }

    // How items share the work: as the device would, as a graphics card would, or in tiles.
    private enum Cut
    {
        Own,
        Forced,
        Tiled,
    }
}
