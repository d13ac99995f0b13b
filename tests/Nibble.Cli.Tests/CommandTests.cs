using System.Runtime.InteropServices;
using System.Text.Json;
using Nibble.Core.Gguf;

namespace Nibble.Cli.Tests;

/// <summary>Each command as a user or a script calls it.</summary>
public sealed class CommandTests : IDisposable
{
    private static readonly JsonElement Golden = JsonDocument.Parse(File.ReadAllText(Fixtures.Golden("smollm2", "golden.json"))).RootElement;

    private readonly string _folder = Directory.CreateTempSubdirectory("nibble-cli-").FullName;

    private static string Dense => Fixtures.Golden("architectures", "llama-dense.gguf");

    private static string SomeTokens => File.ReadAllText(Fixtures.Golden("architectures", "tokens.txt")).Trim();

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Run_answers_with_Paris_at_temperature_0()
    {
        Cli.Result result = Cli.Run("run", "--prompt", "What is the capital of France?", "--temp", "0", "--exact").Succeeded();
        Assert.Contains("Paris", result.Output, StringComparison.Ordinal);
        Assert.Equal(string.Empty, result.Error);
    }

    [Fact]
    public void Run_ids_prints_every_id_the_end_of_generation_included()
    {
        JsonElement answer = Golden.GetProperty("greedy")[0];
        Cli.Result result = Cli.Run("run", "--prompt", answer.GetProperty("user").GetString()!, "--temp", "0", "--ids", "--exact", "-n", "48").Succeeded();
        Assert.Equal(string.Join(',', answer.GetProperty("ids").EnumerateArray()) + "\n", result.Output);
    }

    [Fact]
    public void Run_tokens_feeds_ids_as_they_are_and_needs_no_tokenizer()
    {
        string[] expected = File.ReadLines(Fixtures.Golden("architectures", "greedy.txt")).Single(line => line.StartsWith("llama-dense ", StringComparison.Ordinal)).Split(' ');
        string prompt = string.Join(',', SomeTokens.Split(',', ' ').Take(16));
        Cli.Result result = Cli.Run("run", Dense, "--tokens", prompt, "--ids", "-n", "24", "--temp", "0", "--exact").Succeeded();
        Assert.Equal(expected[1] + "\n", result.Output);
        Assert.Contains("warning", result.Error, StringComparison.Ordinal);
        Cli.Result text = Cli.Run("run", Dense, "--tokens", prompt, "-n", "2");
        Assert.Equal(1, text.ExitCode);
        Assert.Equal(string.Empty, text.Output);
        Assert.Contains("tokenizer", text.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Run_raw_continues_the_text_and_a_stop_string_ends_it()
    {
        string all = Cli.Run("run", "--prompt", "The days of the week are Monday, Tuesday,", "--raw", "--temp", "0", "-n", "24").Succeeded().Output;
        Assert.Contains("Wednesday", all, StringComparison.Ordinal);
        string cut = Cli.Run("run", "--prompt", "The days of the week are Monday, Tuesday,", "--raw", "--temp", "0", "-n", "24", "--stop", "Thursday").Succeeded().Output;
        Assert.Equal(all[..all.IndexOf("Thursday", StringComparison.Ordinal)] + "\n", cut);
    }

    [Fact]
    public void The_same_seed_gives_the_same_text_and_another_seed_another()
    {
        string Text(string seed) => Cli.Run("run", "--prompt", "Tell me a story.", "-n", "16", "--temp", "1.5", "--seed", seed).Succeeded().Output;
        string first = Text("7");
        Assert.Equal(first, Text("7"));
        Assert.NotEqual(first, Text("8"));
    }

    [Fact]
    public void Chat_takes_one_turn_a_line_where_input_is_no_terminal()
    {
        Cli.Result result = Cli.RunWith("What is the capital of France?\n/reset\nWhat is 2+2? Answer with a number.\n", "chat", "--temp", "0", "-n", "16", "--exact").Succeeded();
        Assert.Contains("Paris", result.Output, StringComparison.Ordinal);
        Assert.Contains("4", result.Output, StringComparison.Ordinal);
        Assert.DoesNotContain(">", result.Output, StringComparison.Ordinal);
        Cli.Result prompted = Cli.Run("chat", "--temp", "0", "--exact", "--prompt", "What is the capital of France?").Succeeded();
        Assert.Contains("Paris", prompted.Output, StringComparison.Ordinal);
        Assert.Equal(1, Cli.RunWith("/nonsense\n", "chat").ExitCode);
    }

    [Fact]
    public void Logits_do_not_depend_on_batch_and_threads()
    {
        float[] theirs = Nmse.ReadFloats(Fixtures.Golden("architectures", "llama-dense.logits.f32"));
        float[]? first = null;
        foreach ((string batch, string threads) in new[] { ("512", "2"), ("512", "1"), ("7", "2"), ("1", "1") })
        {
            float[] ours = Logits(Dense, SomeTokens, "--batch", batch, "--threads", threads, "--exact");
            Assert.InRange(Nmse.Of(ours, theirs), 0, 1e-8);
            first ??= ours;
            Assert.InRange(Nmse.Of(ours, first), 0, 1e-10);
        }

        float[] fast = Logits(Dense, SomeTokens, "--batch", "512", "--threads", "2");
        Assert.InRange(Nmse.Of(Logits(Dense, SomeTokens, "--batch", "1", "--threads", "1"), fast), 0, 1e-4);
        float[] reference = Logits(Dense, SomeTokens, "--device", "reference", "--threads", "2");
        Assert.InRange(Nmse.Of(reference, theirs), 0, 1e-8);
    }

    [Fact]
    public void A_failed_run_leaves_an_older_output_and_the_model_alone()
    {
        string model = Path.Combine(_folder, "model.gguf"), output = Path.Combine(_folder, "old.f32");
        File.Copy(Dense, model);
        File.WriteAllText(output, "old");
        Assert.Contains("the model itself", Cli.Run("logits", model, "--tokens", "1,2", "--out", model).Error, StringComparison.Ordinal);
        Assert.Contains("the model itself", Cli.Run("inspect", model, "--tensor", "output.weight", "--out", model).Error, StringComparison.Ordinal);
        Assert.Equal(File.ReadAllBytes(Dense), File.ReadAllBytes(model));
        Assert.Equal(2, Cli.Run("logits", model, "--tokens", "1,999", "--out", output).ExitCode);
        Assert.Equal(1, Cli.Run("logits", model, "--tokens", "1,2,3", "--context", "2", "--out", output).ExitCode);
        Assert.Equal("old", File.ReadAllText(output));
        Assert.Equal(1, Cli.RunWith($"/save {output}\n", "chat").ExitCode);
        Assert.Equal("old", File.ReadAllText(output));
    }

    [Fact]
    public void Text_that_is_no_UTF_8_is_refused_with_its_place()
    {
        string text = Path.Combine(_folder, "binary.txt");
        File.WriteAllBytes(text, [65, 66, 0xff, 67]);
        Cli.Result result = Cli.Run("evaluate", Dense, "--text", text);
        Assert.Equal(2, result.ExitCode);
        Assert.Contains("byte 0xFF at offset 2", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Tokenize_and_detokenize_are_each_other_s_inverse()
    {
        string ids = Cli.Run("tokenize", "--text", "Hello <|im_start|> wörld", "--bare").Succeeded().Output.Trim();
        Assert.DoesNotContain(" 1 ", $" {ids} ", StringComparison.Ordinal);
        Assert.Equal("Hello <|im_start|> wörld", Cli.Run("detokenize", "--ids", ids.Replace(' ', ',')).Succeeded().Output);
        string special = Cli.Run("tokenize", "--text", "Hello <|im_start|> wörld", "--bare", "--special").Succeeded().Output.Trim();
        Assert.Contains(" 1 ", $" {special} ", StringComparison.Ordinal);
        string two = Cli.RunWith("one\0two\nlines\0", "tokenize", "--stdin0", "--bare").Succeeded().Output;
        Assert.Equal(2, two.Trim().Split('\n').Length);
        Assert.Equal(2, Cli.RunWith("no end", "tokenize", "--stdin0").ExitCode);
    }

    [Fact]
    public void Template_renders_byte_for_byte()
    {
        string context = Path.Combine(_folder, "context.json");
        File.WriteAllText(context, """{"messages":[{"role":"system","content":"S"},{"role":"user","content":"hé <|im_end|>"}],"add_generation_prompt":true}""");
        const string expected = "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nhé <|im_end|><|im_end|>\n<|im_start|>assistant\n";
        Assert.Equal(expected, Cli.Run("template", "--context", context).Succeeded().Output);
        string jinja = Path.Combine(_folder, "own.jinja");
        File.WriteAllText(jinja, "{{ bos_token }}{{ messages[0]['content'] }}{{ eos_token }}{{ strftime_now('%Y-%m-%d') }}");
        Assert.Equal("<s>S</s>2026-01-31", Cli.Run("template", jinja, "--context", context, "--bos", "<s>", "--eos", "</s>", "--now", "2026-01-31T10:00:00").Succeeded().Output);
        File.WriteAllText(jinja, "{{ raise_exception('not like this') }}");
        Cli.Result raised = Cli.Run("template", jinja, "--context", context);
        Assert.Equal(1, raised.ExitCode);
        Assert.Contains("not like this", raised.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Inspect_shows_tables_json_and_a_decoded_tensor()
    {
        Cli.Result tables = Cli.Run("inspect", Dense, "--tensors").Succeeded();
        foreach (string text in (string[])["general.architecture", "blk.1.ffn_down.weight", "384 x 256", "runs", "yes"])
            Assert.Contains(text, tables.Output, StringComparison.Ordinal);
        JsonElement json = JsonDocument.Parse(Cli.Run("inspect", "--json", "--tensors").Succeeded().Output).RootElement;
        Assert.True(json.GetProperty("runs").GetBoolean());
        Assert.Equal("llama", json.GetProperty("metadata").GetProperty("general.architecture").GetString());
        Assert.Equal(json.GetProperty("tensor_count").GetInt32(), json.GetProperty("tensors").GetArrayLength());
        string decoded = Path.Combine(_folder, "norm.f32");
        Cli.Run("inspect", Dense, "--tensor", "blk.0.attn_q.weight", "--out", decoded).Succeeded();
        Assert.Equal(256 * 256 * 4, new FileInfo(decoded).Length);
        Assert.Equal(2, Cli.Run("inspect", Dense, "--tensor", "nope", "--out", decoded).ExitCode);
        Assert.Contains("no: ", Cli.Run("inspect", Fixtures.Golden("tokenizers", "ggml-vocab-gpt-2.gguf")).Succeeded().Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Inspect_lists_every_tensor_that_is_in_the_way()
    {
        string path = Path.Combine(_folder, "incomplete.gguf");
        using (GgufFile original = GgufFile.Open(Dense))
        {
            GgufWriter writer = new();
            foreach (GgufEntry entry in original.Metadata)
                writer.Set(entry.Key, entry.Value);
            foreach (GgufTensor tensor in original.Tensors)
                if (tensor.Name == "blk.1.attn_k.weight")
                    writer.AddTensor("blk.1.attn_key.weight", tensor.Format, tensor.Dimensions.AsSpan(), new byte[tensor.ByteLength]);
                else if (tensor.Name is not ("blk.0.ffn_up.weight" or "blk.1.attn_norm.weight"))
                    writer.AddTensor(tensor);
            writer.Write(path);
        }

        JsonElement json = JsonDocument.Parse(Cli.Run("inspect", path, "--json").Succeeded().Output).RootElement;
        Assert.False(json.GetProperty("runs").GetBoolean());
        string[] problems = [.. json.GetProperty("problems").EnumerateArray().Select(problem => problem.GetString()!)];
        Assert.Collection(
            problems,
            problem => Assert.Contains("'blk.0.ffn_up.weight' is missing", problem, StringComparison.Ordinal),
            problem => Assert.Contains("'blk.1.attn_norm.weight' is missing", problem, StringComparison.Ordinal),
            problem => Assert.Contains("'blk.1.attn_k.weight' is missing", problem, StringComparison.Ordinal),
            problem => Assert.Contains("'blk.1.attn_key.weight' is not part of architecture llama", problem, StringComparison.Ordinal));
    }

    [Fact]
    public void Architectures_lists_a_table_json_and_markdown()
    {
        Assert.Contains("SmolLM2", Cli.Run("architectures").Succeeded().Output, StringComparison.Ordinal);
        JsonElement json = JsonDocument.Parse(Cli.Run("architectures", "--json").Succeeded().Output).RootElement;
        Assert.Equal(Llm.Models.Architectures.Names, json.EnumerateArray().Select(row => row.GetProperty("name").GetString()));
        Assert.StartsWith("| architecture | models |\n|---|---|\n| `", Cli.Run("architectures", "--markdown").Succeeded().Output.ReplaceLineEndings("\n"), StringComparison.Ordinal);
        Assert.Equal(2, Cli.Run("architectures", "--json", "--markdown").ExitCode);
    }

    [Fact]
    public void Devices_lists_devices_paths_and_kernels()
    {
        Cli.Result tables = Cli.Run("devices").Succeeded();
        foreach (string text in (string[])["cpu", "reference", "cuda", "Q4_K", "vector128"])
            Assert.Contains(text, tables.Output, StringComparison.Ordinal);
        JsonElement json = JsonDocument.Parse(Cli.Run("devices", "--json").Succeeded().Output).RootElement;
        Assert.Equal("cpu", json.GetProperty("devices")[0].GetProperty("name").GetString());
        Assert.NotEqual(0, json.GetProperty("kernels").GetArrayLength());
    }

    [Fact]
    public void Evaluate_prints_a_perplexity()
    {
        string text = Path.Combine(_folder, "text.txt");
        File.WriteAllText(text, File.ReadAllText(Fixtures.Golden("text", "evaluation.txt"))[..4000]);
        Assert.StartsWith("perplexity ", Cli.Run("evaluate", "--text", text, "--chunk", "256").Succeeded().Output, StringComparison.Ordinal);
        JsonElement json = JsonDocument.Parse(Cli.Run("evaluate", "--text", text, "--chunk", "256", "--json").Succeeded().Output).RootElement;
        Assert.InRange(json.GetProperty("perplexity").GetDouble(), 5, 200);
        Assert.Equal(2, Cli.Run("evaluate", "--text", text, "--chunk", "100000").ExitCode);
    }

    [Fact]
    public void Evaluate_compares_with_a_baseline_and_fails_where_a_gate_is_missed()
    {
        string text = Path.Combine(_folder, "text.txt"), model = Path.Combine(Fixtures.Root, "models", "SmolLM2-135M-Instruct.Q4_1.gguf");
        File.WriteAllText(text, File.ReadAllText(Fixtures.Golden("text", "evaluation.txt"))[..1500]);
        string[] arguments = ["evaluate", "--text", text, "--chunk", "128", "--baseline", model];
        Cli.Result kept = Cli.Run([.. arguments, "--json", "--gate", "kl<=0.000001", "--gate", "same_top>=1"]).Succeeded();
        JsonElement json = JsonDocument.Parse(kept.Output).RootElement;
        Assert.Equal(0, json.GetProperty("kl").GetDouble(), 1e-6);
        Assert.Equal(1, json.GetProperty("perplexity_ratio").GetDouble(), 1e-6);
        Assert.True(json.GetProperty("gates")[1].GetProperty("passed").GetBoolean());
        Cli.Result missed = Cli.Run([.. arguments, "--gate", "kl<=0.1", "--gate", "perplexity<=1.5"]);
        Assert.Equal(1, missed.ExitCode);
        Assert.Contains("same top token 100.00 %", missed.Output, StringComparison.Ordinal);
        Assert.Contains("gate perplexity<=1.5 failed: perplexity is ", missed.Error, StringComparison.Ordinal);
        Assert.Contains("at most 1.5", missed.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("gate kl", missed.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Importance_writes_a_matrix_and_says_when_the_text_is_short()
    {
        string text = Path.Combine(_folder, "text.txt"), output = Path.Combine(_folder, "imatrix.gguf");
        File.WriteAllText(text, File.ReadAllText(Fixtures.Golden("text", "evaluation.txt"))[..1500]);
        Cli.Result result = Cli.Run("importance", "--text", text, "--chunk", "64", "--chunks", "3", "--held-out", "0.3", "--out", output).Succeeded();
        Assert.Contains("fewer than 1000 tokens (the fewest: 128)", result.Error, StringComparison.Ordinal);
        Assert.Contains("on 1 held-out chunks", result.Error, StringComparison.Ordinal);
        Assert.Contains("importance of 210 weights on 2 chunks of 64 ids", result.Error, StringComparison.Ordinal);
        using GgufFile file = GgufFile.Open(output);
        Assert.Equal("imatrix", file.Metadata.GetString("general.type"));
        Assert.Equal("text.txt", Assert.Single(file.Metadata.GetStrings("imatrix.datasets")));
        Assert.Equal(128f, BitConverter.ToSingle(file.Find("blk.29.ffn_down.weight.counts")!.Row(0)));
        Assert.Equal(1536, file.Find("blk.29.ffn_down.weight.in_sum2")!.Columns);
        Assert.Equal(2, Cli.Run("importance", "--text", text, "--chunk", "100000", "--out", output).ExitCode);
    }

    [Theory]
    [InlineData(2, "--baseline", "evaluate", "--text", "x", "--gate", "kl<=1")]
    [InlineData(2, "no metric", "evaluate", "--text", "x", "--gate", "speed<=1")]
    [InlineData(2, "--prompt", "run")]
    [InlineData(2, "--nonsense", "run", "--nonsense")]
    [InlineData(2, "'many' is no value for --predict; it must be a whole number.", "run", "--prompt", "x", "-n", "many")]
    [InlineData(2, "--predict is -2", "run", "--prompt", "x", "-n", "-2")]
    [InlineData(2, "--top-p", "run", "--prompt", "x", "--top-p", "1.5")]
    [InlineData(2, "no format", "run", "--prompt", "x", "--kv", "q9")]
    [InlineData(2, "--threads is -1", "run", "--prompt", "x", "--threads", "-1")]
    [InlineData(2, "neither {{ nor {%", "run", "--prompt", "x", "--chat-template", "unknown")]
    [InlineData(2, "not used with --raw", "run", "--prompt", "x", "--raw", "--chat-template", "chatml")]
    [InlineData(2, "is no token id", "logits", "--tokens", "1,a", "--out", "x")]
    [InlineData(2, "no CUDA backend", "run", "--prompt", "x", "--device", "cuda")]
    [InlineData(2, "--gpu-layers", "run", "--prompt", "x", "--gpu-layers", "5")]
    [InlineData(2, "must be 0 or more", "run", "--prompt", "x", "--gpu-layers", "-5")]
    [InlineData(2, "token 999999 is not in the vocabulary, whose ids are 0 to 49151.\n", "run", "--tokens", "1,999999", "--ids")]
    [InlineData(2, "takes no CPU path", "run", "--prompt", "x", "--device", "reference", "--cpu-path", "avx2")]
    [InlineData(2, "the prompt is empty", "run", "--prompt", "", "--raw")]
    [InlineData(1, "there is no file 'nowhere.gguf'", "run", "nowhere.gguf", "--prompt", "x")]
    [InlineData(1, "Hugging Face", "run", "hf:owner/repo", "--prompt", "x")]
    [InlineData(2, "no CPU path 'abacus'", "run", "--prompt", "x", "--cpu-path", "abacus")]
    public void A_mistake_gives_one_error_line_and_its_exit_code(int exitCode, string message, params string[] arguments)
    {
        Cli.Result result = Cli.Run(arguments);
        Assert.Equal(exitCode, result.ExitCode);
        Assert.Contains(message, result.Error, StringComparison.Ordinal);
        Assert.Equal(string.Empty, result.Output);
        Assert.Single(result.Error.Split('\n'), line => line.StartsWith("nibble: error: ", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("chat")]
    [InlineData("run")]
    [InlineData("tokenize")]
    [InlineData("detokenize")]
    [InlineData("template")]
    [InlineData("logits")]
    [InlineData("evaluate")]
    [InlineData("importance")]
    [InlineData("inspect")]
    [InlineData("architectures")]
    [InlineData("devices")]
    [InlineData("synth")]
    [InlineData("bench")]
    public void Help_shows_examples(string command)
    {
        Cli.Result result = Cli.Run(command, "--help").Succeeded();
        Assert.Contains("Examples:", result.Output, StringComparison.Ordinal);
        Assert.Contains("nibble " + command, result.Output, StringComparison.Ordinal);
    }

    private float[] Logits(string model, string tokens, params string[] options)
    {
        string path = Path.Combine(_folder, "logits.f32");
        Cli.Run(["logits", model, "--tokens", tokens, "--out", path, .. options]).Succeeded();
        return MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(path)).ToArray();
    }
}
