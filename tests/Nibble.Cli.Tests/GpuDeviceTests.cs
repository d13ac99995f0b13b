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
        Installed.OpenCl(GpuDevices.OpenCl(out string? problem).Count > 0, $"there is no OpenCL device: {problem}");
        using TempFolder folder = new();
        string[] arguments = command switch
        {
            "run" => ["run", Model, "--tokens", "1,2,3", "--ids", "-n", "3", "--temp", "0"],
            "logits" => ["logits", Model, "--tokens", "1,2,3", "--out", folder.File("logits")],
            _ => ["bench", Model, "-p", "4", "-n", "2", "-r", "1", "-o", "json"],
        };
        // Logits need room for their tokens only.
        Cli.Result result = Cli.Run([.. arguments, .. command == "run" ? (string[])["--exact"] : [], "--device", "opencl", "--gpu-layers", "1"]).Succeeded();
        Assert.Contains(": layer ", result.Error, StringComparison.Ordinal);
        Assert.Contains("of activations; ", result.Error, StringComparison.Ordinal);
        Assert.Contains("cpu: layer", result.Error, StringComparison.Ordinal);
        Assert.Contains("and the output, and rows of embeddings", result.Error, StringComparison.Ordinal);
        if (command == "run") Assert.Equal(Cli.Run([.. arguments, "--exact", "--device", "cpu"]).Succeeded().Output, result.Output);
        if (command == "logits") Assert.Contains("(3 positions, F16)", result.Error, StringComparison.Ordinal);
        if (command == "bench") Assert.Equal(1, JsonDocument.Parse(result.Output).RootElement[0].GetProperty("n_gpu_layers").GetInt32());
    }

    [Fact]
    public void A_baseline_has_a_placement_of_its_own()
    {
        Installed.OpenCl(GpuDevices.OpenCl(out string? problem).Count > 0, $"there is no OpenCL device: {problem}");
        using TempFolder folder = new();
        foreach (string layers in (string[])["2", "3"])
            Cli.Run("synth", folder.File(layers), "--type", "Q8_0", "--width", "128", "--layers", layers, "--heads", "4", "--kv-heads", "2", "--head-size", "32", "--ffn", "192", "--vocab", "300").Succeeded();
        string text = folder.File("text");
        File.WriteAllText(text, string.Join(' ', Enumerable.Range(0, 60).Select(i => $"word{i % 37}")));
        string[] arguments = ["evaluate", folder.File("2"), "--baseline", folder.File("3"), "--text", text, "--chunk", "32", "--exact", "--json"];
        Cli.Result result = Cli.Run([.. arguments, "--device", "opencl", "--gpu-layers", "1"]).Succeeded();
        Assert.Contains(": layer 1 of 2; ", result.Error, StringComparison.Ordinal);
        Assert.Contains($"beside it {folder.File("3")}:", result.Error, StringComparison.Ordinal);
        Assert.Contains(": layer 2 of 3; ", result.Error, StringComparison.Ordinal);
        double ours = Kl(result), theirs = Kl(Cli.Run([.. arguments, "--device", "cpu"]).Succeeded());
        Assert.InRange(ours, theirs * 0.999, theirs * 1.001);

        static double Kl(Cli.Result result) => JsonDocument.Parse(result.Output).RootElement.GetProperty("kl").GetDouble();
    }

    [Fact]
    public void Bench_measures_a_model_that_is_all_on_a_device_once_whatever_the_threads()
    {
        Installed.OpenCl(GpuDevices.OpenCl(out string? problem).Count > 0, $"there is no OpenCL device: {problem}");
        string[] arguments = ["bench", Model, "-p", "4", "-n", "0", "-r", "1", "-o", "json", "--device", "opencl"];
        Cli.Result result = Cli.Run([.. arguments, "-t", "0,1"]).Succeeded();
        Assert.Equal(1, JsonDocument.Parse(result.Output).RootElement.GetArrayLength());
        Assert.Contains("the other values of --threads (1) would measure the same", result.Error, StringComparison.Ordinal);
        Assert.Equal(2, JsonDocument.Parse(Cli.Run([.. arguments, "-t", "0,1", "--gpu-layers", "1"]).Succeeded().Output).RootElement.GetArrayLength());
        Assert.Contains("--threads has no meaning", Cli.Run([.. arguments, "-t", "1,2"]).Error, StringComparison.Ordinal);
    }
}
