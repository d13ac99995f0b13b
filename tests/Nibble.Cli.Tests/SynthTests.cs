using System.Text.Json;

namespace Nibble.Cli.Tests;

/// <summary><c>nibble synth</c>.</summary>
public sealed class SynthTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("nibble-synth-").FullName;

    private string Model => Path.Combine(_folder, "model.gguf");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void A_model_of_the_asked_shape_is_written_and_answers()
    {
        Cli.Result result = Cli.Run(
            "synth", Model, "--type", "Q4_K", "--output-type", "Q6_K", "--embedding-type", "f16", "--width", "256", "--layers", "3", "--heads", "4", "--kv-heads", "2", "--head-size", "128",
            "--ffn", "512", "--vocab", "500", "--context", "128", "--seed", "5", "--set", "rope.freq_base=5000.5", "--set", "general.author=nobody").Succeeded();
        Assert.Equal(string.Empty, result.Output);
        Assert.Contains("million weights", result.Error, StringComparison.Ordinal);
        JsonElement json = JsonDocument.Parse(Cli.Run("inspect", Model, "--json", "--tensors").Succeeded().Output).RootElement;
        Assert.True(json.GetProperty("runs").GetBoolean());
        Assert.Equal(128, json.GetProperty("context_length").GetInt32());
        JsonElement metadata = json.GetProperty("metadata");
        Assert.Equal(3, metadata.GetProperty("llama.block_count").GetInt32());
        Assert.Equal(5000.5, metadata.GetProperty("llama.rope.freq_base").GetDouble());
        Assert.Equal("nobody", metadata.GetProperty("general.author").GetString());
        string Tensor(string name) => json.GetProperty("tensors").EnumerateArray().Single(tensor => tensor.GetProperty("name").GetString() == name) is var found
            ? $"{found.GetProperty("format").GetString()} {string.Join('x', found.GetProperty("shape").EnumerateArray())}" : "";
        Assert.Equal("Q4_K 256x512", Tensor("blk.0.attn_q.weight"));
        Assert.Equal("Q4_K 512x256", Tensor("blk.2.ffn_down.weight"));
        Assert.Equal("Q6_K 256x500", Tensor("output.weight"));
        Assert.Equal("F16 256x500", Tensor("token_embd.weight"));
        Assert.InRange(Cli.Run("run", Model, "--prompt", "hello", "--raw", "--ids", "-n", "5", "--temp", "0").Succeeded().Output.Split(',').Length, 1, 5);
    }

    [Theory]
    [InlineData("'Q9' is no format of weights (--type)", "--type", "Q9")]
    [InlineData("'Q9' is no format of weights (--output-type)", "--output-type", "Q9")]
    [InlineData("no architecture 'lama'", "--architecture", "lama")]
    [InlineData("--vocab is 100; it must be 259 to", "--vocab", "100")]
    [InlineData("needs a multiple of 256, such as 256 or 512", "--type", "Q4_K", "--ffn", "320")]
    [InlineData("the width is 100 and does not divide into 32 heads", "--width", "100")]
    [InlineData("--tied leaves out the output matrix", "--tied", "--output-type", "F16")]
    [InlineData("'expert_count' is no key and value", "--set", "expert_count")]
    [InlineData("--set KEY=VALUE", "--architecture", "qwen3moe")]
    public void A_mistake_is_named_and_no_file_is_left(string message, params string[] options)
    {
        Cli.Result result = Cli.Run(["synth", Model, "--layers", "1", .. options]);
        Assert.Equal(2, result.ExitCode);
        Assert.Contains(message, result.Error, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(_folder));
    }
}
