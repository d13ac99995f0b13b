using System.Text.Json;

namespace Nibble.Cli.Tests;

/// <summary><c>nibble bench</c>.</summary>
public sealed class BenchTests : IDisposable
{
    // llama-bench's own, llama.cpp v0.5.0, which its scripts look for.
    private static readonly string[] LlamaKeys =
    [
        "build_commit", "build_number", "cpu_info", "gpu_info", "backends", "model_filename", "model_type", "model_size", "model_n_params", "n_batch", "n_ubatch", "n_threads", "cpu_mask",
        "cpu_strict", "poll", "type_k", "type_v", "n_gpu_layers", "n_cpu_moe", "split_mode", "main_gpu", "no_kv_offload", "flash_attn", "devices", "tensor_split", "tensor_buft_overrides",
        "load_mode", "lazy_mode", "embeddings", "no_op_offload", "no_host", "fit_target", "fit_min_ctx", "n_prompt", "n_gen", "n_depth", "test_time", "avg_ns", "stddev_ns", "avg_ts", "stddev_ts",
    ];

    private readonly string _folder = Directory.CreateTempSubdirectory("nibble-bench-").FullName;

    private static string Dense => Fixtures.Golden("architectures", "llama-dense.gguf");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Json_has_the_keys_of_llama_bench_and_numbers_that_fit_one_another()
    {
        JsonElement[] results = Json(Dense, "-p", "8,16-32*2", "-n", "3", "-pg", "6,2", "-d", "0,5", "-r", "3", "-t", "1", "-b", "16");
        Assert.Equal(
            ["8+0@0", "16+0@0", "32+0@0", "0+3@0", "6+2@0", "8+0@5", "16+0@5", "32+0@5", "0+3@5", "6+2@5"],
            results.Select(result => $"{Number(result, "n_prompt")}+{Number(result, "n_gen")}@{Number(result, "n_depth")}"));
        foreach (JsonElement result in results)
        {
            string[] names = [.. result.EnumerateObject().Select(property => property.Name)];
            Assert.Equal(LlamaKeys, names.Take(LlamaKeys.Length));
            Assert.Equal(["samples_ns", "samples_ts"], names.TakeLast(2));
            double[] nanoseconds = Numbers(result, "samples_ns"), speeds = Numbers(result, "samples_ts");
            Assert.Equal(3, nanoseconds.Length);
            double tokens = Number(result, "n_prompt") + Number(result, "n_gen");
            foreach ((double time, double speed) in nanoseconds.Zip(speeds))
                Assert.InRange(speed / (1e9 * tokens / time), 0.999999, 1.000001);
            Assert.InRange(Number(result, "avg_ns") - nanoseconds.Average(), -1, 0);
            Assert.InRange(Number(result, "avg_ts") / speeds.Average(), 0.999999, 1.000001);
            double mean = speeds.Average(), deviation = Math.Sqrt(speeds.Sum(speed => (speed - mean) * (speed - mean)) / 2);
            Assert.InRange(Number(result, "stddev_ts") - deviation, -1e-5, 1e-5);
            Assert.Equal(1, Number(result, "n_threads"));
            Assert.Equal(16, Number(result, "n_batch"));
            Assert.Equal("CPU", result.GetProperty("backends").GetString());
            Assert.Equal("f16", result.GetProperty("type_k").GetString());
            Assert.StartsWith("llama ", result.GetProperty("model_type").GetString(), StringComparison.Ordinal);
            Assert.Matches("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$", result.GetProperty("test_time").GetString());
        }
    }

    [Fact]
    public void Bytes_of_a_token_are_matrices_keys_and_values_and_their_share_is_of_the_memory_s_speed()
    {
        string model = Path.Combine(_folder, "model.gguf");
        Cli.Run("synth", model, "--type", "Q8_0", "--width", "64", "--layers", "2", "--heads", "4", "--kv-heads", "2", "--ffn", "96", "--vocab", "300").Succeeded();
        const int matrices = 2 * ((64 * 64 * 2) + (64 * 32 * 2) + (64 * 96 * 3)) + (64 * 300);
        JsonElement[] results = Json(model, "-p", "0", "-n", "3", "-d", "10", "--kv", "f16,f32", "-r", "1");
        foreach ((JsonElement result, int valueBytes) in results.Zip([2, 4]))
        {
            // Positions 10, 11 and 12 see 11, 12 and 13 positions of 2 layers x (keys and values) x 32 values.
            double expected = (matrices * 34 / 32) + (12 * 2 * 2 * 32 * valueBytes);
            Assert.Equal(expected, Number(result, "bytes_per_token"));
            Assert.InRange(Number(result, "gb_per_s") - (expected * Number(result, "avg_ts") / 1e9), -1e-5, 1e-5);
            Assert.True(Number(result, "read_gb_per_s") > 0);
            Assert.InRange(Number(result, "read_share") - (Number(result, "gb_per_s") / Number(result, "read_gb_per_s")), -1e-4, 1e-4);
            Assert.Equal(0, Number(result, "stddev_ns"));
        }

        JsonElement prompt = Assert.Single(Json(model, "-p", "4", "-n", "0", "-r", "1"));
        foreach (string key in (string[])["bytes_per_token", "gb_per_s", "read_gb_per_s", "read_share"])
            Assert.Equal(JsonValueKind.Null, prompt.GetProperty(key).ValueKind);
    }

    [Fact]
    public void Of_experts_those_that_a_token_chooses_are_counted()
    {
        double Bytes(string used)
        {
            string model = Path.Combine(_folder, "experts.gguf");
            Cli.Run(
                "synth", model, "--type", "F16", "--architecture", "qwen3moe", "--width", "64", "--layers", "1", "--heads", "4", "--kv-heads", "2", "--vocab", "300", "--set", "expert_count=8",
                "--set", $"expert_used_count={used}", "--set", "expert_feed_forward_length=32").Succeeded();
            return Number(Assert.Single(Json(model, "-p", "0", "-n", "1", "-r", "1")), "bytes_per_token");
        }

        Assert.Equal(3 * 64 * 32 * 2 * 2, Bytes("4") - Bytes("2"));
    }

    [Fact]
    public void A_table_has_a_row_a_test_and_other_columns_where_they_differ()
    {
        string[] plain = Lines("bench", Dense, "-p", "4", "-n", "2", "-r", "2", "-t", "1");
        Assert.Equal(["model", "size", "params", "backend", "threads", "test", "t/s", "GB/s", "of read"], Cells(plain[0]));
        Assert.Matches("^\\|( -+[-:] \\|)+$", plain[1]);
        Assert.Equal("pp4", Cells(plain[2])[5]);
        Assert.Equal("tg2", Cells(plain[3])[5]);
        Assert.Matches("^[0-9]+\\.[0-9]{2} \u00B1 [0-9]+\\.[0-9]{2}$", Cells(plain[2])[6]);
        Assert.Equal(string.Empty, Cells(plain[2])[7]);
        Assert.Matches("^[0-9]+ % of [0-9]+\\.[0-9]{2}$", Cells(plain[3])[8]);
        Assert.Contains(plain, line => line.StartsWith("build: ", StringComparison.Ordinal));
        Assert.Contains(plain, line => line.StartsWith("device: ", StringComparison.Ordinal));
        string[] more = Lines("bench", Dense, "-p", "4", "-n", "0", "-d", "3", "-r", "1", "-t", "1,2", "-b", "2", "-ctk", "q8_0", "-ctv", "q8_0");
        Assert.Equal(["model", "size", "params", "backend", "threads", "n_batch", "type_k", "type_v", "test", "t/s"], Cells(more[0]));
        Assert.Equal(["1", "2", "q8_0", "q8_0", "pp4 @ d3"], Cells(more[2])[4..9]);
        Assert.Equal("2", Cells(more[3])[4]);
    }

    [Fact]
    public void Lines_of_json_and_csv_hold_the_same_fields()
    {
        string[] lines = Lines("bench", Dense, "-p", "2,3", "-n", "0", "-r", "2", "-o", "jsonl");
        Assert.Equal([2, 3], lines.Where(line => line.Length > 0).Select(line => (int)Number(JsonDocument.Parse(line).RootElement, "n_prompt")));
        string[] csv = Lines("bench", Dense, "-p", "2,3", "-n", "0", "-r", "2", "-o", "csv");
        string[] names = csv[0].Split(',');
        Assert.Equal(LlamaKeys, names.Take(LlamaKeys.Length));
        Assert.Equal(3, csv.Count(line => line.Length > 0));
        string[] values = csv[1][1..^1].Split("\",\"");
        Assert.Equal(names.Length, values.Length);
        Assert.Equal("2", values[Array.IndexOf(names, "n_prompt")]);
        Assert.Equal(Dense, values[Array.IndexOf(names, "model_filename")]);
    }

    [Fact]
    public void The_reference_device_and_exact_products_are_measured_too()
    {
        JsonElement reference = Assert.Single(Json(Dense, "-p", "0", "-n", "1", "-r", "1", "--device", "reference"));
        Assert.Equal("REFERENCE", reference.GetProperty("backends").GetString());
        Assert.Equal("f32", reference.GetProperty("type_k").GetString());
        Assert.Equal(JsonValueKind.Null, reference.GetProperty("read_share").ValueKind);
        JsonElement exact = Assert.Single(Json(Dense, "-p", "2", "-n", "0", "-r", "1", "--exact", "--cpu-path", "vector128"));
        Assert.True(exact.GetProperty("exact").GetBoolean());
        Assert.Equal("vector128", exact.GetProperty("cpu_path").GetString());
    }

    [Fact]
    public void Recurrent_models_and_windows_go_back_to_their_depth()
    {
        string model = Path.Combine(_folder, "recurrent.gguf");
        Cli.Run(
            "synth", model, "--type", "F32", "--architecture", "mamba2", "--width", "32", "--layers", "2", "--vocab", "300", "--set", "ssm.conv_kernel=4", "--set", "ssm.inner_size=64", "--set",
            "ssm.state_size=16", "--set", "ssm.time_step_rank=4", "--set", "ssm.group_count=1").Succeeded();
        Assert.Equal(3, Numbers(Assert.Single(Json(model, "-p", "0", "-n", "2", "-d", "6", "-r", "3")), "samples_ns").Length);
    }

    [Theory]
    [InlineData("no test is left", "-p", "0", "-n", "0")]
    [InlineData("'x' is no list of whole numbers (--n-prompt)", "-p", "x")]
    [InlineData("'8-4' (--n-prompt) ends below its start", "-p", "8-4")]
    [InlineData("'1-9*1' (--n-gen) never gets to its end", "-n", "1-9*1")]
    [InlineData("--batch is 0; it must be 1 to 65536", "-b", "0")]
    [InlineData("'512' is no pair of tokens (-pg)", "-pg", "512")]
    [InlineData("'q9' is no format for keys and values (--kv)", "--kv", "q9")]
    [InlineData("keys and values have one format", "-ctk", "f16", "-ctv", "q8_0")]
    [InlineData("--repetitions is 0", "-r", "0")]
    [InlineData("'xml' is no output format (--output)", "-o", "xml")]
    [InlineData("no CPU path 'abacus'", "--cpu-path", "abacus")]
    public void A_mistake_is_named(string message, params string[] options)
    {
        Cli.Result result = Cli.Run(["bench", Dense, .. options]);
        Assert.Equal(2, result.ExitCode);
        Assert.Contains(message, result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Ctrl_C_ends_with_whole_output()
    {
        if (!OperatingSystem.IsLinux()) return;
        using PseudoTerminal terminal = PseudoTerminal.Start(Cli.Host, Cli.Assembly, "bench", Dense, "-p", "2", "-n", "50000", "-r", "10000", "-o", "json");
        terminal.WaitFor("tg50000: warming up");
        terminal.Type(PseudoTerminal.CtrlC);
        Assert.Equal(130, terminal.WaitForExit());
        Assert.Contains("\"n_prompt\": 2,", terminal.Output, StringComparison.Ordinal);
        Assert.Matches("\\}[^{}\\]]*\\]\\s+nibble: error: interrupted", terminal.Output);
    }

    private static string[] Lines(params string[] arguments) => Cli.Run(arguments).Succeeded().Output.Split('\n');

    private static string[] Cells(string line) => [.. line.Trim('|').Split('|').Select(cell => cell.Trim())];

    private static JsonElement[] Json(string model, params string[] options)
    {
        Cli.Result result = Cli.Run(["bench", model, "-o", "json", .. options]).Succeeded();
        Assert.Equal(string.Empty, result.Error);
        return [.. JsonDocument.Parse(result.Output).RootElement.EnumerateArray()];
    }

    private static double Number(JsonElement result, string key) => result.GetProperty(key).GetDouble();

    private static double[] Numbers(JsonElement result, string key) => [.. result.GetProperty(key).EnumerateArray().Select(value => value.GetDouble())];
}
