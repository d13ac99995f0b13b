using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Nibble.Cli.Tests;

/// <summary><c>nibble quantize</c> with a budget, and by a recipe.</summary>
public sealed class QuantizePlanTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("nibble-plan-").FullName;

    private string Model => Path.Combine(_folder, "model.gguf");

    private string Text => Path.Combine(_folder, "text.txt");

    private string Output => Path.Combine(_folder, "out.gguf");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void A_budget_makes_a_file_a_table_a_curve_and_a_recipe_that_makes_the_same_file()
    {
        Synth();
        Cli.Result result = Cli.Run("quantize", Model, Output, "--bpw", "4.6", "--text", Text, "--chunk", "64", "--chunks", "4", "--seed", "3", "--tensor", "blk.0.attn_v=Q8_0").Succeeded();
        Assert.Contains(result.Output.Split('\n'), row => row.Contains("blk.0.ffn_up.weight", StringComparison.Ordinal) && row.Contains('*', StringComparison.Ordinal));
        Assert.Contains("the best files by size", result.Output, StringComparison.Ordinal);
        Assert.Contains("estimated KL", result.Error, StringComparison.Ordinal);
        string recipe = Output + ".recipe.json", again = Path.Combine(_folder, "again.gguf");
        JsonElement json = JsonDocument.Parse(File.ReadAllText(recipe)).RootElement;
        JsonElement[] tensors = [.. json.GetProperty("tensors").EnumerateArray()];
        Assert.Equal("Q8_0", tensors.Single(tensor => tensor.GetProperty("name").GetString() == "blk.0.attn_v.weight").GetProperty("target").GetString());
        Assert.Equal(new FileInfo(Output).Length, json.GetProperty("file_bytes").GetInt64());
        Assert.Equal(["model.gguf", "out.gguf", "out.gguf.recipe.json", "text.txt"], Directory.GetFileSystemEntries(_folder).Select(Path.GetFileName).Order());
        Cli.Run("quantize", Model, again, "--recipe", recipe, "--text", Text).Succeeded();
        Assert.Contains("--chunk", Cli.Run("quantize", Model, again, "--recipe", recipe, "--text", Text, "--chunk", "64").Error, StringComparison.Ordinal);
        Assert.Contains("leave it out", Cli.Run("quantize", Model, again, "--recipe", recipe, "--text", Text, "--type", "Q4_0").Error, StringComparison.Ordinal);
        Assert.Equal(File.ReadAllBytes(Output), File.ReadAllBytes(again));
        Cli.Run("run", Output, "--prompt", "hello", "--raw", "--ids", "-n", "3", "--temp", "0").Succeeded();

        // A size to the byte, with what was measured kept in a folder.
        long size = new FileInfo(Output).Length - 1;
        JsonElement told = JsonDocument.Parse(Cli.Run("quantize", Model, again, "--size", $"{size}", "--text", Text, "--chunk", "64", "--chunks", "4", "--statistics", Path.Combine(_folder, "kept"), "--json").Succeeded().Output).RootElement;
        Assert.InRange(told.GetProperty("bytes").GetInt64(), size * 9 / 10, size);
        Assert.Equal(new FileInfo(again).Length, told.GetProperty("bytes").GetInt64());
        Assert.NotEmpty(told.GetProperty("curve").EnumerateArray());
        Assert.NotEmpty(Directory.GetFiles(Path.Combine(_folder, "kept"), "*", SearchOption.AllDirectories));
    }

    [Fact]
    public void Sensitivities_are_measured_where_gradients_are_not_known_and_the_recipe_needs_no_measuring()
    {
        Synth("--architecture", "qwen3moe", "--set", "expert_count=4", "--set", "expert_used_count=2", "--set", "expert_feed_forward_length=256");
        string[] chunks = ["--chunk", "64", "--chunks", "4"];
        Cli.Result refused = Cli.Run(["quantize", Model, Output, "--bpw", "5", "--text", Text, "--sensitivity", "estimated", .. chunks]);
        Assert.NotEqual(0, refused.ExitCode);
        Assert.Contains("the network is ExpertFeedForward", refused.Error, StringComparison.Ordinal);
        Cli.Result result = Cli.Run(["quantize", Model, Output, "--bpw", "5", "--text", Text, .. chunks]).Succeeded();
        Assert.Contains("the network is ExpertFeedForward", result.Error, StringComparison.Ordinal);
        Assert.Contains("measured tensor by tensor", result.Error, StringComparison.Ordinal);
        string again = Path.Combine(_folder, "again.gguf");
        Cli.Run("quantize", Model, again, "--recipe", Output + ".recipe.json", "--text", Text).Succeeded();
        Assert.Equal(File.ReadAllBytes(Output), File.ReadAllBytes(again));
        JsonElement told = JsonDocument.Parse(Cli.Run(["quantize", Model, again, "--bpw", "5", "--text", Text, "--json", .. chunks]).Succeeded().Output).RootElement;
        Assert.Equal("measured", told.GetProperty("sensitivity").GetString());
        Assert.Equal(["again.gguf", "again.gguf.recipe.json", "model.gguf", "out.gguf", "out.gguf.recipe.json", "text.txt"], Directory.GetFileSystemEntries(_folder).Select(Path.GetFileName).Order());
    }

    [Theory]
    [InlineData("--bpw and --size choose themselves", "--bpw", "4.5", "--type", "Q4_K_M")]
    [InlineData("--search says what --bpw", "--bpw", "4.5", "--search", "best")]
    [InlineData("give one of them", "--bpw", "4.5", "--size", "1MB")]
    [InlineData("'3 gigs' is no size", "--size", "3 gigs")]
    [InlineData("it must be above 0", "--bpw", "0")]
    [InlineData("is no number of bits", "--bpw", "many")]
    [InlineData("only --bpw and --size have", "--type", "Q4_0", "--seed", "3")]
    [InlineData("give one of them", "--bpw", "4.5", "--recipe", "text.txt")]
    [InlineData("--exact", "--bpw", "4.5", "--exact")]
    [InlineData("only --bpw and --size have", "--type", "Q4_0", "--sensitivity", "measured")]
    [InlineData("leave out --seed", "--bpw", "4.5", "--sensitivity", "measured", "--seed", "3")]
    [InlineData("'guessed'", "--bpw", "4.5", "--sensitivity", "guessed")]
    [InlineData("'int8:row:static-mse' (--tensor) follows from activations", "--bpw", "8.5", "--tensor", "ffn_down=int8:row:static-mse")]
    [InlineData("'llm.int8:t6' (--tensor) follows from activations", "--bpw", "8.5", "--tensor", "ffn_down=llm.int8:t6")]
    public void What_excludes_or_makes_no_sense_is_refused(string part, params string[] arguments)
    {
        Synth();
        string[] named = [.. arguments.Select(argument => argument == "text.txt" ? Text : argument)];
        Cli.Result result = Cli.Run(["quantize", Model, Output, "--text", Text, .. named]);
        Assert.NotEqual(0, result.ExitCode);
        Assert.Contains(part, result.Error, StringComparison.Ordinal);
        Assert.False(File.Exists(Output));
    }

    [Fact]
    public void A_text_is_needed_and_a_budget_that_is_too_small_names_the_least()
    {
        Synth();
        Assert.Contains("--text", Cli.Run("quantize", Model, Output, "--bpw", "4.5").Error, StringComparison.Ordinal);
        string[] common = ["--text", Text, "--chunk", "64", "--chunks", "2", "--tensor", "blk.1.attn_v=Q8_0"];
        Match least = Refused("--size", "10");
        (long bytes, string bits) = (long.Parse(least.Groups[1].Value, CultureInfo.InvariantCulture), least.Groups[2].Value);
        Assert.Equal(least.Value, Refused("--bpw", "1.5").Value);
        Assert.Equal(least.Value, Refused("--size", $"{bytes - 1}").Value);
        Assert.Equal(bytes, JsonDocument.Parse(Cli.Run(["quantize", Model, Output, "--size", $"{bytes}", "--json", .. common]).Succeeded().Output).RootElement.GetProperty("bytes").GetInt64());
        Cli.Run(["quantize", Model, Output, "--bpw", bits, .. common]).Succeeded();
        Assert.Equal(bytes, new FileInfo(Output).Length);

        // Before the text is even read.
        Match Refused(string option, string value)
        {
            string noText = Path.Combine(_folder, "no-text");
            File.WriteAllBytes(noText, [0xFF, 0xFE]);
            Cli.Result result = Cli.Run("quantize", Model, Output, option, value, "--text", noText, "--tensor", "blk.1.attn_v=Q8_0");
            Assert.Equal(1, result.ExitCode);
            Assert.False(File.Exists(Output));
            Match match = Regex.Match(result.Error, "the smallest that can be made has ([0-9]+) bytes, ([0-9.]+) bits a weight");
            Assert.True(match.Success, result.Error);
            return match;
        }
    }

    [Fact]
    public void A_pattern_that_no_tensor_has_is_refused_before_anything_is_measured()
    {
        Synth();
        File.WriteAllBytes(Text, [0xFF]);
        Assert.Contains("'attn_w' is found in the name of no tensor", Cli.Run("quantize", Model, Output, "--bpw", "4.5", "--text", Text, "--tensor", "attn_w=Q8_0").Error, StringComparison.Ordinal);
    }

    private void Synth(params string[] more)
    {
        Cli.Run(["synth", Model, "--type", "F32", "--width", "256", "--layers", "2", "--heads", "4", "--kv-heads", "2", "--head-size", "64", "--ffn", "256", "--vocab", "300", .. more]).Succeeded();
        File.WriteAllText(Text, string.Concat(Enumerable.Range(0, 200).Select(i => $"The {i} birds flew over the river and sat down in the trees. ")));
    }
}
