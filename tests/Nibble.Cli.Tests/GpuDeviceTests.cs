using System.Text.Json;
using Nibble.Gpu;

namespace Nibble.Cli.Tests;

/// <summary>Devices of OpenCL that take a part of a model, on the command line.</summary>
public class GpuDeviceTests
{
    private static string Model => Fixtures.Golden("architectures", "llama-dense.gguf");

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
        Cli.Result result = Cli.Run([.. arguments, .. command == "run" ? (string[])["--exact"] : [], "--device", "opencl", "--gpu-layers", "1"]).Succeeded();
        Assert.Contains(": layer ", result.Error, StringComparison.Ordinal);
        Assert.Contains("of activations; ", result.Error, StringComparison.Ordinal);
        Assert.Contains("cpu: layer", result.Error, StringComparison.Ordinal);
        Assert.Contains("and the output, and rows of embeddings", result.Error, StringComparison.Ordinal);
        if (command == "run") Assert.Equal(Cli.Run([.. arguments, "--exact", "--device", "cpu"]).Succeeded().Output, result.Output);
        if (command == "bench") Assert.Equal(1, JsonDocument.Parse(result.Output).RootElement[0].GetProperty("n_gpu_layers").GetInt32());
    }
}
