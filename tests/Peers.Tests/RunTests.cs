using System.Diagnostics;
using System.Text.Json;
using Nibble.Core.Formats;
using Nibble.Llm.Models;

namespace Peers.Tests;

/// <summary>The built program on a tiny model, with scripts in the place of llama.cpp's programs.</summary>
public sealed class RunTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly string _model, _llama, _ik;

    public RunTests()
    {
        _model = _folder.File("tiny.gguf");
        new SyntheticShape { Width = 64, Layers = 2, Heads = 4, KvHeads = 2, FeedForward = 128, Vocabulary = 300, Context = 128 }.Describe(BlockFormats.Q4_0).Write(_model, 1, new SyntheticFormats(BlockFormats.Q4_0, BlockFormats.Q4_0, BlockFormats.Q4_0));
        _llama = _folder.File("llama.cpp");
        _ik = _folder.File("ik/llama-bench");
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Every_side_is_measured_in_every_round_and_ratios_are_those_of_the_medians()
    {
        FakeBench.WriteLlama(Path.Combine(_llama, "native", "bin", "llama-bench"));
        FakeBench.WriteIk(_ik);
        JsonElement group = Json(Run("--ik", _ik, "--rounds", "2", "--json")).GetProperty("groups")[0];
        JsonElement[] nibble = Tests(group, "nibble"), native = Tests(group, "native"), ik = Tests(group, "ik"), read = Tests(group, "bandwidth");
        Assert.Equal(["pp8", "tg2"], nibble.Select(test => test.GetProperty("test").GetString()));
        Assert.All(nibble, test => Assert.Equal(2, test.GetProperty("samples").EnumerateArray().Count(sample => sample.GetDouble() > 0)));
        Assert.Equal([FakeBench.PrefillRate, FakeBench.DecodeRate], native.Select(Median));
        Assert.Equal([FakeBench.PrefillRate, FakeBench.DecodeRate], ik.Select(Median));
        Assert.True(Median(Assert.Single(read)) > 1e8);
        JsonElement[] ratios = [.. group.GetProperty("ratios").EnumerateArray()];
        for (int test = 0; test < 2; test++)
        {
            Assert.Equal("native", ratios[test].GetProperty("peer").GetString());
            Assert.Equal(Median(nibble[test]) / Median(native[test]), ratios[test].GetProperty("nibble_over_peer").GetDouble(), 1e-9);
            Assert.Equal(Median(nibble[test]) / Median(ik[test]), ratios[test].GetProperty("nibble_over_ik").GetDouble(), 1e-9);
        }

        // Matrices of a token: 2 layers of q, output (64 x 64), k, v (32 x 64), gate, up, down (128 x 64), and the output (300 x 64); keys and values of 32 in f16, with 1.5 positions before on average.
        double bytes = ((2 * ((2 * 64 * 64) + (2 * 32 * 64) + (3 * 128 * 64))) + (300 * 64)) * 18 / 32.0 + (2 * 2 * 32 * 2 * 1.5);
        Assert.Equal(bytes * Median(nibble[1]) / Median(read[0]), ratios[1].GetProperty("nibble_share_of_read_bandwidth").GetDouble(), 1e-9);
        Assert.Equal(JsonValueKind.Null, ratios[0].GetProperty("nibble_share_of_read_bandwidth").ValueKind);
        Assert.Contains("abc1234 (7); AMX 1.50 MiB", group.GetProperty("sides").EnumerateArray().Select(side => side.GetProperty("description").GetString()));
    }

    [Fact]
    public void At_a_depth_ik_llama_cpp_measures_decoding_only()
    {
        FakeBench.WriteIk(_ik);
        JsonElement group = Json(Run("--ik", _ik, "--depth", "16", "--json")).GetProperty("groups")[0];
        JsonElement[] ik = Tests(group, "ik");
        Assert.Empty(ik[0].GetProperty("samples").EnumerateArray());
        Assert.Equal(FakeBench.DecodeRate, Median(ik[1]));
        Assert.Equal(["pp8 @ d16", "tg2 @ d16"], Tests(group, "nibble").Select(test => test.GetProperty("test").GetString()));
        Assert.All(Tests(group, "nibble"), test => Assert.True(Median(test) > 0));
    }

    [Fact]
    public void A_side_that_fails_is_told_and_the_others_go_on()
    {
        FakeBench.WriteLlama(Path.Combine(_llama, "native", "bin", "llama-bench"));
        FakeBench.WriteBroken(_ik);
        (int code, string output, string error) = Run("--ik", _ik);
        Assert.Equal(1, code);
        Assert.Contains("exit code 3: main: error: failed to load model", output, StringComparison.Ordinal);
        string row = Assert.Single(output.Split('\n'), line => line.Contains("| pp8 ", StringComparison.Ordinal));
        Assert.Contains("2000.0 ± 0 %", row, StringComparison.Ordinal);
        Assert.Contains("failed", row, StringComparison.Ordinal);
        Assert.Contains("round 1 of 1, native: pp8 2000.00, tg2 100.00", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("there is no peer to compare with; bring one with the command fetch.")]
    [InlineData("bring them with the command fetch.", "--sides", "nibble", "npm")]
    [InlineData("side 'ik' needs --ik", "--sides", "ik")]
    [InlineData("--rounds 0 is too small; it must be 1 or more.", "--rounds", "0")]
    [InlineData("may not use processor 1000 (--cores)", "--sides", "native", "--cores", "1000")]
    public void A_wrong_command_line_is_refused(string message, params string[] arguments)
    {
        if (arguments.Contains("--cores")) FakeBench.WriteLlama(Path.Combine(_llama, "native", "bin", "llama-bench"));
        (int code, _, string error) = Run(arguments);
        Assert.Equal(2, code);
        Assert.Contains(message, error, StringComparison.Ordinal);
    }

    private static JsonElement[] Tests(JsonElement group, string side) =>
        [.. group.GetProperty("sides").EnumerateArray().Single(result => result.GetProperty("side").GetString() == side).GetProperty("tests").EnumerateArray()];

    private static double Median(JsonElement test) => test.GetProperty("median").GetDouble();

    private static JsonElement Json((int Code, string Output, string Error) result)
    {
        Assert.True(result.Code == 0, $"exit code {result.Code}; standard error:\n{result.Error}");
        return JsonDocument.Parse(result.Output).RootElement;
    }

    private (int Code, string Output, string Error) Run(params string[] arguments)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "bench/peers pins and stops processes as Linux does");
        string program = Path.Combine(AppContext.BaseDirectory, "peers.dll");
        string[] rounds = arguments.Contains("--rounds") ? [] : ["--rounds", "1"];
        ProcessStartInfo start = new("dotnet", [program, "--llama", _llama, "run", "--model", _model, "--prefill", "8", "--decode", "2", "--threads", "1", "--warm-up", "0", .. rounds, .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output, error.Result);
    }
}
