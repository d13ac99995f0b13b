namespace Nibble.Gpu.Tests;

/// <summary>How features are named and chosen.</summary>
public class FeatureSwitchTests
{
    private static readonly GpuDeviceInfo s_device = new()
    {
        Driver = "opencl", Index = 0, Name = "card", Platform = "p", DriverVersion = "1", LanguageVersion = "OpenCL C 3.0", IsProcessor = false, MemoryBytes = 1, MaxBufferBytes = 1, LocalBytes = 1, CacheBytes = 0,
        MaxGroupItems = 1, ComputeUnits = 1, Extensions = "", Features = GpuFeatures.SubGroups | GpuFeatures.PackedDot,
    };

    [Theory]
    [InlineData("none", GpuFeatures.None)]
    [InlineData(" none ", GpuFeatures.None)]
    [InlineData("sub-groups", GpuFeatures.SubGroups)]
    [InlineData("half,packed-dot", GpuFeatures.Half | GpuFeatures.PackedDot)]
    [InlineData("sub-groups, packed-dot ,half", GpuFeatures.SubGroups | GpuFeatures.PackedDot | GpuFeatures.Half)]
    public void A_list_is_read(string text, GpuFeatures features)
    {
        Assert.Equal(features, GpuFeatureNames.Parse(text));
        Assert.Equal(features, GpuFeatureNames.Parse(GpuFeatureNames.Line(features)));
    }

    [Theory]
    [InlineData("fp16", "fp16")]
    [InlineData("sub-groups,Half", "Half")]
    [InlineData("none,half", "none")]
    [InlineData("half,", "")]
    [InlineData("all", "all")]
    public void A_word_that_is_no_feature_is_named_with_those_that_are(string text, string word)
    {
        string message = Assert.Throws<ArgumentException>(() => GpuFeatureNames.Parse(text)).Message;
        Assert.Contains($"'{word}' in '{text}' is no feature", message, StringComparison.Ordinal);
        Assert.Contains("none, or some of sub-groups, packed-dot, half", message, StringComparison.Ordinal);
        message = Assert.Throws<GpuException>(() => GpuFeatureNames.Chosen(s_device, null, text)).Message;
        Assert.StartsWith($"NIBBLE_OPENCL_FEATURES: '{word}' in '{text}'", message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', message);
    }

    [Fact]
    public void What_the_device_lacks_is_refused_with_what_it_has()
    {
        Assert.Equal(
            "device 'card' lacks half, for which NIBBLE_OPENCL_FEATURES asks (sub-groups, half); it has sub-groups, packed-dot. Ask for no more than that, or for nothing, which leaves the choice to the device.",
            Assert.Throws<GpuException>(() => GpuFeatureNames.Chosen(s_device, null, "half,sub-groups")).Message);
        Assert.Contains("lacks packed-dot, half, for which Features asks (packed-dot, half); it has none.", Assert.Throws<GpuException>(
            () => GpuFeatureNames.Chosen(s_device with { Features = GpuFeatures.None }, GpuFeatures.Half | GpuFeatures.PackedDot, "none")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_program_s_word_comes_before_the_environment_s_and_that_before_the_device_s()
    {
        Assert.Equal(GpuFeatures.SubGroups, GpuFeatureNames.Chosen(s_device, null, null));
        Assert.Equal(GpuFeatures.SubGroups, GpuFeatureNames.Chosen(s_device, null, " "));
        Assert.Equal(GpuFeatures.None, GpuFeatureNames.Chosen(s_device, null, "none"));
        Assert.Equal(GpuFeatures.PackedDot, GpuFeatureNames.Chosen(s_device, GpuFeatures.PackedDot, "none"));
    }

    [Fact]
    public void Graphics_cards_use_by_themselves_what_keeps_results()
    {
        GpuDeviceInfo all = s_device with { Features = GpuFeatureNames.All };
        Assert.Equal(GpuFeatures.SubGroups | GpuFeatures.Half, all.DefaultFeatures);
        Assert.Equal(GpuFeatures.None, (all with { IsProcessor = true }).DefaultFeatures);
        Assert.Equal(GpuFeatures.None, (all with { Features = GpuFeatures.PackedDot }).DefaultFeatures);
    }

    [Fact]
    public void A_device_that_lacks_what_is_asked_for_is_not_opened_and_exact_backends_keep_activations()
    {
        using (GpuBackend exact = TestDevice.Backend(new GpuOptions { EmulatesFeatures = true, IsExact = true }))
            Assert.Equal(GpuFeatures.SubGroups, exact.Features);
        using GpuBackend plain = TestDevice.Backend(new GpuOptions { Features = GpuFeatures.None });
        Assert.Equal(GpuFeatures.None, plain.Features);
        Assert.Contains("features none", plain.Description, StringComparison.Ordinal);
        Assert.SkipWhen(plain.Device.Features == GpuFeatureNames.All, "the device has all features");
        Assert.Contains($"device '{plain.Device.Name}' lacks", Assert.Throws<GpuException>(() => TestDevice.Backend(new GpuOptions { Features = GpuFeatureNames.All })).Message, StringComparison.Ordinal);
    }
}
