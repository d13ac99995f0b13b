using System.Text.Json;

namespace Nibble.Cli.Tests;

/// <summary><c>--cache-weights</c>.</summary>
public sealed class WeightCacheTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public WeightCacheTests() => Cli.Run(
        "synth", Model, "--type", "Q4_0", "--width", "256", "--layers", "2", "--heads", "4", "--kv-heads", "2", "--ffn", "512", "--vocab", "300", "--context", "128").Succeeded();

    private string Model => _folder.File("model.gguf");

    private string Packed => Model + ".packed";

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Two_processes_that_write_at_once_and_those_that_map_answer_the_same()
    {
        string expected = Run().Output;
        Cli.Result[] results = new Cli.Result[3];
        Parallel.For(0, results.Length, new ParallelOptions { MaxDegreeOfParallelism = results.Length }, i => results[i] = Run("--cache-weights"));
        Assert.All(results, result => Assert.Equal(expected, result.Output));
        Assert.All(results, result => Assert.DoesNotContain("warning", result.Error, StringComparison.Ordinal));
        Assert.Contains(results, result => result.Error.Contains("written to model.gguf.packed", StringComparison.Ordinal));
        Assert.Equal([Model, Packed], Directory.GetFiles(_folder.Root).Order(StringComparer.Ordinal));
        Cli.Result mapped = Run("--cache-weights");
        Assert.Equal(expected, mapped.Output);
        Assert.Contains("MB mapped from model.gguf.packed", mapped.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("written", mapped.Error, StringComparison.Ordinal);
        Assert.Equal(string.Empty, Run().Error);
    }

    [Fact]
    public void Inspect_shows_the_file_and_a_warning_tells_that_it_was_damaged()
    {
        Assert.False(Inspect().TryGetProperty("weight_cache", out _));
        Run("--cache-weights");
        JsonElement cache = Inspect().GetProperty("weight_cache");
        Assert.Equal("model.gguf.packed", cache.GetProperty("file").GetString());
        Assert.Equal(new FileInfo(Packed).Length, cache.GetProperty("bytes").GetInt64());
        Assert.Equal(JsonValueKind.Null, cache.GetProperty("problem").ValueKind);
        Assert.Contains("--cache-weights maps them", Cli.Run("inspect", Model).Succeeded().Output, StringComparison.Ordinal);
        using (FileStream file = File.OpenWrite(Packed))
            file.SetLength(5000);
        Assert.Contains("it has 5,000 bytes of", Inspect().GetProperty("weight_cache").GetProperty("problem").GetString(), StringComparison.Ordinal);
        Assert.Contains("write them anew", Cli.Run("inspect", Model).Succeeded().Output, StringComparison.Ordinal);
        Cli.Result result = Run("--cache-weights");
        Assert.Contains("nibble: warning: 'model.gguf.packed' was not used as it is: it has 5,000 bytes of", result.Error, StringComparison.Ordinal);
        Assert.Contains("MB written to model.gguf.packed", result.Error, StringComparison.Ordinal);
        Assert.Equal(JsonValueKind.Null, Inspect().GetProperty("weight_cache").GetProperty("problem").ValueKind);
    }

    [Fact]
    public void It_goes_with_bench_and_not_with_exact_or_the_reference()
    {
        Assert.Contains("written to", Cli.Run("bench", Model, "-p", "4", "-n", "0", "-r", "1", "--cache-weights").Succeeded().Error, StringComparison.Ordinal);
        Assert.Contains("mapped from", Cli.Run("bench", Model, "-p", "4", "-n", "0", "-r", "1", "--cache-weights").Succeeded().Error, StringComparison.Ordinal);
        foreach (string[] options in (string[][])[["--exact"], ["--device", "reference"]])
        {
            Cli.Result result = Cli.Run(["run", Model, "--raw", "--tokens", "1,2", "-n", "1", "--cache-weights", .. options]);
            Assert.Equal(2, result.ExitCode);
            Assert.Contains("leave out --cache-weights", result.Error, StringComparison.Ordinal);
        }
    }

    private Cli.Result Run(params string[] options) => Cli.Run(["run", Model, "--raw", "--tokens", "1,2,270", "--ids", "-n", "6", "--temp", "0", .. options]).Succeeded();

    private JsonElement Inspect() => JsonDocument.Parse(Cli.Run("inspect", Model, "--json").Succeeded().Output).RootElement;
}
