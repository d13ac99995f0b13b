using System.Text.Json;
using Nibble.Gpu;

namespace Nibble.Cli.Tests;

/// <summary>Devices of OpenCL on the command line: where there are none, and where they take a part of a model.</summary>
public class GpuDeviceTests
{
    private static readonly (string, string) s_nothing = ("NIBBLE_OPENCL_LIBRARY", "/no/such/libOpenCL.so");

    private static string Model => Fixtures.Golden("architectures", "llama-dense.gguf");

    [Fact]
    public void Without_a_library_there_is_one_line_and_the_cpu_is_chosen()
    {
        string[] lines = Cli.RunIn(s_nothing, "devices").Succeeded().Output.Split('\n');
        Assert.Contains("--device auto takes cpu: /no/such/libOpenCL.so (NIBBLE_OPENCL_LIBRARY) could not be loaded", lines);
        Assert.Equal("cpu", JsonDocument.Parse(Cli.RunIn(s_nothing, "devices", "--json").Succeeded().Output).RootElement.GetProperty("auto").GetString());
        Cli.Result layers = Cli.RunIn(s_nothing, "run", Model, "--tokens", "1,2,3", "--ids", "--gpu-layers", "2");
        Assert.Equal(2, layers.ExitCode);
        Assert.Contains("2 layers were asked for on a GPU (--gpu-layers), but there is none to choose: /no/such/libOpenCL.so", layers.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("run")]
    [InlineData("logits")]
    [InlineData("bench")]
    public void A_part_of_a_model_runs_on_a_device_and_the_report_says_which(string command)
    {
        Assert.SkipWhen(GpuDevices.OpenCl(out string? problem).Count == 0, $"there is no OpenCL device: {problem}");
        using TempFolder folder = new();
        string[] arguments = command switch
        {
            "run" => ["run", Model, "--tokens", "1,2,3", "--ids", "-n", "3", "--temp", "0"],
            "logits" => ["logits", Model, "--tokens", "1,2,3", "--out", folder.File("logits")],
            _ => ["bench", Model, "-p", "4", "-n", "2", "-r", "1", "-o", "json"],
        };
        Cli.Result result = Cli.Run([.. arguments, "--device", "opencl", "--gpu-layers", "1"]).Succeeded();
        Assert.Contains(": layer ", result.Error, StringComparison.Ordinal);
        Assert.Contains("of activations; ", result.Error, StringComparison.Ordinal);
        Assert.Contains("cpu: layer", result.Error, StringComparison.Ordinal);
        Assert.Contains("and the output, and rows of embeddings", result.Error, StringComparison.Ordinal);
        if (command == "run") Assert.Equal(Cli.Run([.. arguments, "--exact"]).Succeeded().Output, result.Output);
        if (command == "bench") Assert.Equal(1, JsonDocument.Parse(result.Output).RootElement[0].GetProperty("n_gpu_layers").GetInt32());
    }
}
