using System.Text.Json;

namespace Nibble.Cli.Tests;

/// <summary>The command on a device of OpenCL, and where there is none.</summary>
public class OpenClTests
{
    private static readonly (string, string) s_noLibrary = ("NIBBLE_OPENCL_LIBRARY", "no-such-opencl.so");

    [Fact]
    public void Devices_lists_OpenCL_devices_with_their_limits_and_kernels()
    {
        Needed();
        JsonElement json = JsonDocument.Parse(Cli.Run("devices", "--json").Succeeded().Output).RootElement;
        JsonElement device = json.GetProperty("devices").EnumerateArray().First(one => one.GetProperty("name").GetString() == "opencl:0");
        Assert.True(device.GetProperty("usable").GetBoolean());
        foreach (string limit in (string[])["GB", "buffers of", "compute units", "groups of", "KiB local", "OpenCL C"])
            Assert.Contains(limit, device.GetProperty("description").GetString(), StringComparison.Ordinal);
        Assert.All(json.GetProperty("kernels").EnumerateArray(), kernel => Assert.StartsWith("opencl: " + kernel.GetProperty("format").GetString(), kernel.GetProperty("matmul_opencl").GetString(), StringComparison.Ordinal));
        Assert.Contains("opencl: Q4_K as planes of 4 bits", Cli.Run("devices").Succeeded().Output.ReplaceLineEndings(" "), StringComparison.Ordinal);
    }

    [Fact]
    public void Features_are_listed_and_chosen_by_the_environment()
    {
        Needed();
        JsonElement device = Device(JsonDocument.Parse(Cli.RunIn(("NIBBLE_OPENCL_FEATURES", "none"), "devices", "--json").Succeeded().Output).RootElement);
        Assert.True(device.GetProperty("usable").GetBoolean());
        Assert.Equal(0, device.GetProperty("features_used").GetArrayLength());
        Assert.EndsWith("used: none", device.GetProperty("description").GetString(), StringComparison.Ordinal);
        string[] known = [.. device.GetProperty("features").EnumerateArray().Select(name => name.GetString()!)];
        Assert.Contains($"; features: {(known.Length == 0 ? "none" : string.Join(", ", known))}, used", device.GetProperty("description").GetString(), StringComparison.Ordinal);

        // A word that is no feature is told by the list, and stops what would compute.
        (string, string) wrong = ("NIBBLE_OPENCL_FEATURES", "sub-groups,fp16");
        device = Device(JsonDocument.Parse(Cli.RunIn(wrong, "devices", "--json").Succeeded().Output).RootElement);
        Assert.False(device.GetProperty("usable").GetBoolean());
        const string Message = "NIBBLE_OPENCL_FEATURES: 'fp16' in 'sub-groups,fp16' is no feature of OpenCL devices; say none, or some of sub-groups, packed-dot, half, with commas between them.";
        Assert.EndsWith(Message, device.GetProperty("description").GetString(), StringComparison.Ordinal);
        Cli.Result refused = Cli.RunIn(wrong, "run", "--device", "opencl", "--prompt", "x");
        Assert.Equal(2, refused.ExitCode);
        Assert.Contains(Message, refused.Error, StringComparison.Ordinal);

        static JsonElement Device(JsonElement json) => json.GetProperty("devices").EnumerateArray().First(one => one.GetProperty("name").GetString() == "opencl:0");
    }

    [Fact]
    public void Without_a_library_there_is_one_clear_line_and_the_CPU_is_taken()
    {
        JsonElement json = JsonDocument.Parse(Cli.RunIn(s_noLibrary, "devices", "--json").Succeeded().Output).RootElement;
        JsonElement device = Assert.Single(json.GetProperty("devices").EnumerateArray(), one => one.GetProperty("name").GetString()!.StartsWith("opencl", StringComparison.Ordinal));
        Assert.Equal("opencl", device.GetProperty("name").GetString());
        Assert.False(device.GetProperty("usable").GetBoolean());
        Assert.Equal("no-such-opencl.so (NIBBLE_OPENCL_LIBRARY) could not be loaded", device.GetProperty("description").GetString());
        Assert.Equal("cpu", json.GetProperty("auto").GetString());
        Assert.Contains("--device auto takes cpu: no-such-opencl.so (NIBBLE_OPENCL_LIBRARY) could not be loaded", Cli.RunIn(s_noLibrary, "devices").Succeeded().Output.Split('\n'));
        Assert.All(json.GetProperty("kernels").EnumerateArray(), kernel => Assert.False(kernel.TryGetProperty("matmul_opencl", out _)));
        Assert.Contains("Paris", Cli.RunIn(s_noLibrary, "run", "--prompt", "What is the capital of France?", "-n", "12", "--temp", "0", "--exact").Succeeded().Output, StringComparison.Ordinal);
        Cli.Result refused = Cli.RunIn(s_noLibrary, "run", "--device", "opencl", "--prompt", "x");
        Assert.Equal(2, refused.ExitCode);
        Assert.Contains("device 'opencl' cannot be used: no-such-opencl.so (NIBBLE_OPENCL_LIBRARY) could not be loaded. Usable: auto, cpu, reference.", refused.Error, StringComparison.Ordinal);
        Cli.Result layers = Cli.RunIn(s_noLibrary, "run", "--prompt", "x", "--gpu-layers", "2");
        Assert.Equal(2, layers.ExitCode);
        Assert.Contains("2 layers were asked for on a GPU (--gpu-layers), but there is none to choose: no-such-opencl.so", layers.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Kernels_of_OpenCL_are_measured_against_what_the_device_gives()
    {
        Needed();
        JsonElement[] results = [.. JsonDocument.Parse(Cli.Run("kernels", "--device", "opencl", "-f", "Q4_0,F16", "-s", "256x512", "-n", "1,9", "-r", "2", "-o", "json").Succeeded().Output).RootElement.EnumerateArray()];
        Assert.Equal(4, results.Length);
        foreach (JsonElement result in results)
        {
            Assert.Equal("opencl", result.GetProperty("device").GetString());
            Assert.Equal("opencl:0", result.GetProperty("cpu_path").GetString());
            Assert.InRange(result.GetProperty("gmac_per_s").GetDouble(), 1e-3, 1e6);
            Assert.InRange(result.GetProperty("read_gb_per_s").GetDouble(), 0.1, 1e5);
            Assert.InRange(result.GetProperty("peak_gmac_per_s").GetDouble(), 0.1, 1e7);
        }
    }

    [Fact]
    public void Chat_holds_a_conversation_on_OpenCL()
    {
        Needed();
        string[] options = ["chat", "--temp", "0", "-n", "12", "--exact"];
        const string Turns = "What is the capital of France?\nAnd of Italy?\n";
        Assert.Equal(Cli.RunWith(Turns, [.. options, "--device", "cpu"]).Succeeded().Output, Cli.RunWith(Turns, [.. options, "--device", "opencl"]).Succeeded().Output);
        Assert.Contains("Paris", Cli.RunWith(Turns, "chat", "--temp", "0", "-n", "12", "--device", "opencl:0").Succeeded().Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--type", "Q4_K")]
    [InlineData("--type", "Q6_K")]
    [InlineData("--method", "nf4")]
    [InlineData("--method", "rtn", "--bits", "4", "--group", "128")]
    public void A_quantized_model_gives_the_logits_of_the_CPU(params string[] options)
    {
        Needed();
        string model = Fixtures.Shared("models", "jargon-6m-bf16.gguf");
        using TempFolder folder = new();
        Cli.Run(["quantize", model, folder.File("model.gguf"), .. options]).Succeeded();
        Assert.InRange(Nmse.Of(Logits(folder, "model.gguf", "opencl"), Logits(folder, "model.gguf", "cpu")), 0, 1e-9);
    }

    [Fact]
    public void A_model_with_stored_scales_of_inputs_gives_the_logits_of_the_CPU()
    {
        Needed();
        string model = Fixtures.Shared("models", "jargon-6m-bf16.gguf"), text = Fixtures.Shared("fixtures", "text", "calibration.txt");
        using TempFolder folder = new();
        string[] options = ["--method", "rtn", "--bits", "8", "--group", "row"];
        Cli.Run(["quantize", model, folder.File("static.gguf"), .. options, "--activations", "static", "--range", "minmax", "--text", text, "--chunks", "4", "--chunk", "128"]).Succeeded();
        Cli.Run(["quantize", model, folder.File("free.gguf"), .. options]).Succeeded();
        float[] theirs = Logits(folder, "static.gguf", "cpu"), free = Logits(folder, "free.gguf", "cpu");

        // A sum's last bit can move an input to the next whole number, 1e-5 of a layer's inputs; what rounding does to all of them is a good deal more.
        foreach (string[] layers in (string[][])[[], ["--gpu-layers", "2"]])
        {
            float[] ours = Logits(folder, "static.gguf", "opencl", layers);
            Assert.InRange(Nmse.Of(ours, theirs), 0, 1e-4);
            Assert.InRange(Nmse.Of(ours, free), 1e-3, 0.1);
        }
    }

    private static float[] Logits(TempFolder folder, string model, string device, params string[] options)
    {
        string file = folder.File(device + ".logits");
        Cli.Run(["logits", folder.File(model), "--device", device, "--exact", "--tokens", "1,50,300,7,1000,42,99,512,3,3,77,1500,20,8,640,11,5", "--out", file, .. options]).Succeeded();
        return Nmse.ReadFloats(file);
    }

    private static void Needed()
    {
        Installed.OpenCl(Nibble.Gpu.GpuDevices.OpenCl(out string? problem).Count > 0, $"there is no OpenCL device: {problem}");
    }
}
