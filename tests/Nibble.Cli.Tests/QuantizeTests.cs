using System.Text.Json;
using Nibble.Core.Encodings;
using Nibble.Core.Gguf;

namespace Nibble.Cli.Tests;

/// <summary><c>nibble quantize</c>.</summary>
public sealed class QuantizeTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("nibble-quantize-").FullName;

    private string Model => Path.Combine(_folder, "model.gguf");

    private string Output => Path.Combine(_folder, "out.gguf");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void A_model_in_fewer_bits_runs_and_is_told_in_a_table()
    {
        Synth();
        Cli.Result result = Cli.Run("quantize", Model, Output, "--type", "q4_k_m", "--tensor", "blk.0.ffn_up=Q8_0").Succeeded();
        string[] rows = result.Output.Split('\n');
        Assert.Contains(rows, row => row.Contains("Q4_K", StringComparison.Ordinal) && row.Contains("4.500", StringComparison.Ordinal));
        Assert.Contains(rows, row => row.Contains("Q8_0", StringComparison.Ordinal) && row.Contains("8.500", StringComparison.Ordinal));
        Assert.Contains(rows, row => row.TrimStart().StartsWith("all", StringComparison.Ordinal));
        Assert.Contains("MB became", result.Error, StringComparison.Ordinal);
        JsonElement json = JsonDocument.Parse(Cli.Run("inspect", Output, "--json", "--tensors").Succeeded().Output).RootElement;
        Assert.True(json.GetProperty("runs").GetBoolean());
        Assert.Equal(15, json.GetProperty("metadata").GetProperty("general.file_type").GetInt32());
        Cli.Run("run", Output, "--prompt", "hello", "--raw", "--ids", "-n", "3", "--temp", "0").Succeeded();
    }

    [Fact]
    public void Rows_that_do_not_fit_and_weights_that_are_rounded_twice_are_told()
    {
        Cli.Run("synth", Model, "--type", "Q8_0", "--width", "96", "--layers", "1", "--heads", "4", "--kv-heads", "2", "--head-size", "32", "--ffn", "256", "--vocab", "300").Succeeded();
        Cli.Result result = Cli.Run("quantize", Model, Output, "--type", "Q4_K_S", "--json").Succeeded();
        Assert.Contains("rows of 96 values, no multiple of the 256 of Q4_K: they become Q5_0", result.Error, StringComparison.Ordinal);
        Assert.Contains("are quantized already (Q8_0)", result.Error, StringComparison.Ordinal);
        JsonElement json = JsonDocument.Parse(result.Output).RootElement;
        JsonElement query = json.GetProperty("tensors").EnumerateArray().Single(tensor => tensor.GetProperty("name").GetString() == "blk.0.attn_q.weight");
        Assert.Equal(("Q8_0", "Q4_K", "Q5_0"), (query.GetProperty("from").GetString(), query.GetProperty("wanted").GetString(), query.GetProperty("format").GetString()));
        Assert.Equal(new FileInfo(Output).Length, json.GetProperty("bytes").GetInt64());
    }

    [Fact]
    public void A_model_with_encoded_tensors_is_inspected_run_measured_and_quantized()
    {
        Synth();
        string encoded = Path.Combine(_folder, "encoded.gguf"), decoded = Path.Combine(_folder, "up.f32");
        const string Name = "blk.0.ffn_up.weight";
        using (GgufFile file = GgufFile.Open(Model))
        {
            GgufWriter writer = new();
            foreach (GgufEntry entry in file.Metadata) writer.Set(entry.Key, entry.Value);
            foreach (GgufTensor tensor in file.Tensors.Where(tensor => tensor.Name != Name)) writer.AddTensor(tensor);
            GgufTensor replaced = file.Find(Name)!;
            TensorEncoding encoding = EncodedSamples.Encodings(replaced.Columns, replaced.Rows)["int4-zeros"] with { Name = Name };
            EncodedTensors.Add(writer, encoding, EncodedSamples.Data(encoding, 1));
            writer.Write(encoded);
        }

        string tables = Cli.Run("inspect", encoded, "--tensors").Succeeded().Output;
        Assert.Contains("int4_g64_zeros", tables, StringComparison.Ordinal);
        Assert.Contains("encoded tensor", tables, StringComparison.Ordinal);
        JsonElement json = JsonDocument.Parse(Cli.Run("inspect", encoded, "--json", "--tensors").Succeeded().Output).RootElement;
        Assert.True(json.GetProperty("runs").GetBoolean());
        JsonElement tensorJson = Assert.Single(json.GetProperty("encoded_tensors").EnumerateArray());
        Assert.StartsWith("group columns=256 ", tensorJson.GetProperty("encoding").GetString(), StringComparison.Ordinal);
        Assert.Equal(tensorJson.GetProperty("bytes").GetInt64(), json.GetProperty("format_bytes").GetProperty("int4_g64_zeros").GetInt64());
        Cli.Run("inspect", encoded, "--tensor", Name, "--out", decoded).Succeeded();
        Assert.Equal(4L * 256 * tensorJson.GetProperty("shape")[1].GetInt64(), new FileInfo(decoded).Length);
        string ids = Cli.Run("run", encoded, "--tokens", "1,2", "--ids", "-n", "3", "--temp", "0").Succeeded().Output;
        Assert.Equal(ids, Cli.Run("run", encoded, "--tokens", "1,2", "--ids", "-n", "3", "--temp", "0", "--device", "reference").Succeeded().Output);
        Cli.Run("bench", encoded, "-p", "4", "-n", "2", "-r", "1").Succeeded();
        Cli.Result result = Cli.Run("quantize", encoded, Output, "--type", "Q8_0").Succeeded();
        Assert.Contains("int4_g64_zeros", result.Error, StringComparison.Ordinal);
        Assert.True(JsonDocument.Parse(Cli.Run("inspect", Output, "--json").Succeeded().Output).RootElement.GetProperty("runs").GetBoolean());
    }

    [Fact]
    public void A_longer_search_gives_another_file_of_the_same_size()
    {
        Synth();
        string best = Path.Combine(_folder, "best.gguf");
        Cli.Run("quantize", Model, Output, "--type", "Q4_0", "--pure").Succeeded();
        Cli.Run("quantize", Model, best, "--type", "Q4_0", "--pure", "--search", "best").Succeeded();
        byte[] usual = File.ReadAllBytes(Output), longer = File.ReadAllBytes(best);
        Assert.Equal(usual.Length, longer.Length);
        Assert.False(usual.AsSpan().SequenceEqual(longer));
    }

    [Theory]
    [InlineData("int4:g64:asym", "--method", "rtn", "--bits", "4", "--group", "64", "--asym")]
    [InlineData("int8:row", "--method", "rtn", "--bits", "8", "--group", "row")]
    [InlineData("nf4:double", "--method", "nf4", "--double")]
    [InlineData("llm.int8", "--method", "int8")]
    public void A_method_makes_encoded_tensors_of_the_linear_layers_and_tells_what_it_left(string target, params string[] options)
    {
        Synth();
        Cli.Result result = Cli.Run(["quantize", Model, Output, "--json", "--tensor", "ffn_down=Q8_0", .. options]).Succeeded();
        Assert.Contains("As they are: output.weight (F16), token_embd.weight (F16)", result.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("does not make", result.Error, StringComparison.Ordinal);
        JsonElement json = JsonDocument.Parse(result.Output).RootElement;
        Assert.Equal(JsonValueKind.Null, json.GetProperty("type").ValueKind);
        Dictionary<string, JsonElement> tensors = json.GetProperty("tensors").EnumerateArray().ToDictionary(tensor => tensor.GetProperty("name").GetString()!);
        Assert.Equal((target, "rtn"), (tensors["blk.1.attn_q.weight"].GetProperty("format").GetString(), tensors["blk.1.attn_q.weight"].GetProperty("method").GetString()));
        Assert.Equal("Q8_0", tensors["blk.0.ffn_down.weight"].GetProperty("format").GetString());
        Assert.Equal("F16", tensors["token_embd.weight"].GetProperty("format").GetString());
        string listed = Cli.Run("inspect", Output, "--tensors").Succeeded().Output;
        Assert.Contains("blk.1.attn_q.weight", listed, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("int4:g64:asym", "gptq:act-order", "--method", "gptq", "--bits", "4", "--group", "64", "--asym", "--act-order")]
    [InlineData("Q4_0", "gptq:refine=4", "--method", "gptq", "--type", "Q4_0", "--pure", "--search", "best")]
    [InlineData("int8:row", "rtn", "--method", "smooth")]
    [InlineData("int8:tensor:asym", "rtn", "--method", "smooth", "--group", "tensor", "--asym")]
    [InlineData("int8:row:static-mse", "rtn", "--method", "smooth", "--activations", "static")]
    [InlineData("int8:tensor:static-percentile", "rtn", "--method", "smooth", "--group", "tensor", "--activations", "static", "--range", "percentile")]
    [InlineData("int4:g64:static-3sigma", "gptq", "--method", "gptq", "--group", "64", "--activations", "static", "--range", "3sigma", "--held-out", "0.4")]
    [InlineData("int3:g32", "awq", "--method", "awq", "--bits", "3", "--group", "32")]
    [InlineData("llm.int8:t6", "rtn", "--method", "int8")]
    [InlineData("llm.int8:t0.25", "rtn", "--method", "int8", "--threshold", "0.25")]
    [InlineData("llm.int8:static-mse", "rtn", "--method", "int8", "--activations", "static")]
    public void A_method_that_looks_at_activations_does_so_on_a_text(string target, string method, params string[] options)
    {
        Synth();
        string text = Path.Combine(_folder, "text.txt"), second = Path.Combine(_folder, "second.gguf"), statistics = Path.Combine(_folder, "statistics");
        File.WriteAllText(text, string.Join(' ', Enumerable.Range(0, 400).Select(i => $"word{i % 37}")));
        string[] common = ["--text", text, "--chunk", "32", "--chunks", "6", "--statistics", statistics];
        Cli.Result result = Cli.Run(["quantize", Model, Output, "--json", .. common, .. options]).Succeeded();
        Assert.Contains("text: ", result.Error, StringComparison.Ordinal);
        Dictionary<string, JsonElement> tensors = JsonDocument.Parse(result.Output).RootElement.GetProperty("tensors").EnumerateArray().ToDictionary(one => one.GetProperty("name").GetString()!);
        Assert.Equal((target, method), (tensors["blk.1.attn_q.weight"].GetProperty("format").GetString(), tensors["blk.1.attn_q.weight"].GetProperty("method").GetString()));
        if (options.Contains("--type")) Assert.Equal((target, method), (tensors["output.weight"].GetProperty("format").GetString(), tensors["output.weight"].GetProperty("method").GetString()));
        Assert.DoesNotContain("Rounded to nearest", result.Error, StringComparison.Ordinal);
        Assert.NotEmpty(Directory.GetFiles(statistics, "*.gguf", SearchOption.AllDirectories));
        Cli.Run(["quantize", Model, second, .. common, .. options]).Succeeded();
        Assert.Equal(File.ReadAllBytes(Output), File.ReadAllBytes(second));
        Cli.Run("run", Output, "--prompt", "hello", "--raw", "--ids", "-n", "3", "--temp", "0").Succeeded();
    }

    [Fact]
    public void A_recipe_gives_the_same_file_again_and_only_with_the_same_text()
    {
        Synth();
        string text = Path.Combine(_folder, "text.txt"), other = Path.Combine(_folder, "other.txt"), again = Path.Combine(_folder, "again.gguf"), recipe = Path.Combine(_folder, "recipe.json");
        File.WriteAllText(text, string.Join(' ', Enumerable.Range(0, 400).Select(i => $"word{i % 37}")));
        File.WriteAllText(other, File.ReadAllText(text) + "!");
        Cli.Run("quantize", Model, Output, "--method", "gptq", "--group", "64", "--text", text, "--chunk", "32", "--chunks", "5", "--tensor", "attn_v=int8:row", "--tensor", "token_embd=Q8_0", "--save-recipe", recipe).Succeeded();
        Cli.Run("quantize", Model, again, "--recipe", recipe, "--text", text).Succeeded();
        Assert.Equal(File.ReadAllBytes(Output), File.ReadAllBytes(again));
        Cli.Result told = Cli.Run("quantize", Model, again, "--method", "gptq", "--group", "64", "--text", text, "--chunk", "32", "--chunks", "5", "--tensor", "attn_v=llm.int8", "--tensor", "token_embd=Q8_0").Succeeded();
        Assert.Contains("By rtn, since gptq does not make llm.int8: 2 tensors", told.Error, StringComparison.Ordinal);
        Assert.Contains("By rtn, since gptq is for linear layers and the output matrix: token_embd.weight (Q8_0)", told.Error, StringComparison.Ordinal);
        Fails("is not the text of the recipe", "--text", other);
        Fails("give it a text of what");
        Fails("leave out --chunk", "--text", text, "--chunk", "32");
        Fails("leave out --type", "--text", text, "--type", "Q4_0");
        string content = File.ReadAllText(recipe);
        Changed("\"int8:row\"", "\"int9\"", "tensors[", "is \"int9\"");
        Changed("\"gptq\"", "\"hqq\"", "it does not make int4:g64");
        Changed("blk.0.attn_q", "blk.7.attn_q", "names 'blk.7.attn_q.weight', which the model does not have");
        Changed("\"nibble_recipe\": 1", "\"nibble_recipe\": 2", "nibble_recipe is 2; a whole number from 1 to 1 is needed");
        Changed("{", "", "it is no JSON");

        void Changed(string from, string to, params string[] messages)
        {
            File.WriteAllText(recipe, content.Replace(from, to, StringComparison.Ordinal));
            foreach (string message in messages) Fails(message, "--text", text);
        }

        void Fails(string message, params string[] options)
        {
            Cli.Result result = Cli.Run(["quantize", Model, again + "x", "--recipe", recipe, .. options]);
            Assert.NotEqual(0, result.ExitCode);
            Assert.Contains(message, result.Error, StringComparison.Ordinal);
            Assert.False(File.Exists(again + "x"));
        }
    }

    [Fact]
    public void Static_ranges_are_checked_on_text_that_they_are_not_from_and_stand_in_a_recipe()
    {
        Synth();
        string text = Path.Combine(_folder, "text.txt"), again = Path.Combine(_folder, "again.gguf"), recipe = Path.Combine(_folder, "recipe.json");
        File.WriteAllText(text, string.Join(' ', Enumerable.Range(0, 400).Select(i => $"word{i % 37}")));
        Cli.Result result = Cli.Run(
            "quantize", Model, Output, "--method", "smooth", "--activations", "static", "--range", "minmax", "--tensor", "ffn_down=int8:row", "--held-out", "0.25", "--text", text, "--chunk", "32", "--chunks", "9", "--save-recipe", recipe,
            "--json").Succeeded();
        Assert.Matches(@"on \d+ held-out chunks the static ranges clip \d", result.Error);
        JsonElement[] ranges = [.. JsonDocument.Parse(result.Output).RootElement.GetProperty("ranges_on_held_out").EnumerateArray()];
        Assert.Equal(12, ranges.Length);
        Assert.DoesNotContain(ranges, range => range.GetProperty("name").GetString()!.Contains("ffn_down", StringComparison.Ordinal));
        Assert.All(ranges, range => Assert.InRange(range.GetProperty("error").GetDouble(), 1e-8, 0.1));
        string content = File.ReadAllText(recipe);
        Assert.Contains("\"held_out\": 0.25", content, StringComparison.Ordinal);
        Assert.Contains("int8:row:static-minmax", content, StringComparison.Ordinal);
        Cli.Run("quantize", Model, again, "--recipe", recipe, "--text", text).Succeeded();
        Assert.Equal(File.ReadAllBytes(Output), File.ReadAllBytes(again));
        File.WriteAllText(recipe, content.Replace("static-minmax", "static-most", StringComparison.Ordinal));
        Assert.Contains("static-most", Cli.Run("quantize", Model, again, "--recipe", recipe, "--text", text).Error, StringComparison.Ordinal);
        File.WriteAllText(recipe, content.Replace("0.25", "0.75", StringComparison.Ordinal));
        Assert.Contains("a share of 0 to 0.5 is needed", Cli.Run("quantize", Model, again, "--recipe", recipe, "--text", text).Error, StringComparison.Ordinal);
        Assert.Contains("input_scale", Cli.Run("inspect", Output, "--tensors").Succeeded().Output, StringComparison.Ordinal);
        foreach (string[] device in (string[][])[["cpu"], ["cpu", "--exact"], ["reference"]])
            Cli.Run(["run", Output, "--prompt", "hello", "--raw", "--ids", "-n", "3", "--temp", "0", "--device", .. device]).Succeeded();
    }

    [Fact]
    public void Columns_apart_are_told_stand_in_a_recipe_and_run()
    {
        Synth();
        string text = Path.Combine(_folder, "text.txt"), again = Path.Combine(_folder, "again.gguf"), recipe = Path.Combine(_folder, "recipe.json");
        File.WriteAllText(text, string.Join(' ', Enumerable.Range(0, 400).Select(i => $"word{i % 37}")));
        Cli.Result result = Cli.Run(
            "quantize", Model, Output, "--method", "int8", "--threshold", "2.5", "--text", text, "--chunk", "32", "--chunks", "6", "--tensor", "ffn_up=int8:row", "--save-recipe", recipe, "--json").Succeeded();
        Dictionary<string, JsonElement> tensors = JsonDocument.Parse(result.Output).RootElement.GetProperty("tensors").EnumerateArray().ToDictionary(tensor => tensor.GetProperty("name").GetString()!);
        int columns = tensors["blk.1.attn_q.weight"].GetProperty("outlier_columns").GetInt32();
        Assert.InRange(columns, 1, 256);
        Assert.Matches($@"columns apart in blk\.1: .*\b{columns} of 256 in [^;]*attn_q", result.Error);
        Assert.Matches(@"\d+ of 3072 columns of 12 tensors \(\d+\.\d\d %\) are apart, in float16", result.Error);
        Assert.False(tensors["blk.1.ffn_up.weight"].TryGetProperty("outlier_columns", out _));
        Assert.Equal((256 * 256) + (256 * 4) + (columns * (4 + (256 * 2))), tensors["blk.1.attn_q.weight"].GetProperty("bytes").GetInt64());
        Assert.Contains("outlier_values", Cli.Run("inspect", Output, "--tensors").Succeeded().Output, StringComparison.Ordinal);
        Cli.Run("quantize", Model, again, "--recipe", recipe, "--text", text).Succeeded();
        Assert.Equal(File.ReadAllBytes(Output), File.ReadAllBytes(again));
        foreach (string[] device in (string[][])[["cpu"], ["cpu", "--exact"], ["reference"]])
            Cli.Run(["run", Output, "--prompt", "hello", "--raw", "--ids", "-n", "3", "--temp", "0", "--device", .. device]).Succeeded();
    }

    [Fact]
    public void A_group_that_does_not_divide_the_columns_is_refused_with_those_that_do()
    {
        Cli.Run("synth", Model, "--type", "F16", "--width", "96", "--layers", "1", "--heads", "4", "--kv-heads", "2", "--head-size", "32", "--ffn", "256", "--vocab", "300").Succeeded();
        Cli.Result result = Cli.Run("quantize", Model, Output, "--method", "rtn");
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("has 96 columns, which groups of 128 do not divide; 32 and the whole row (96) are possible", result.Error, StringComparison.Ordinal);
        Assert.Equal([Model], Directory.GetFiles(_folder));
    }

    [Theory]
    [InlineData("'Q9' is no type of file (--type)", "--type", "Q9")]
    [InlineData("'Q9' is no format of weights (--tensor)", "--type", "Q4_0", "--tensor", "ffn=Q9")]
    [InlineData("'ffn' is no expression and format (--tensor)", "--type", "Q4_0", "--tensor", "ffn")]
    [InlineData("no regular expression that can be used (--tensor)", "--type", "Q4_0", "--tensor", "(=Q8_0")]
    [InlineData("neither --type nor --method nor --recipe")]
    [InlineData("--group is 'x'", "--method", "rtn", "--group", "x")]
    [InlineData("--bits is 5; 3, 4 and 8", "--method", "rtn", "--bits", "5")]
    [InlineData("--double is what only --method nf4", "--method", "rtn", "--double")]
    [InlineData("--group is what only integers", "--method", "nf4", "--group", "64")]
    [InlineData("name two formats", "--method", "nf4", "--type", "Q4_0")]
    [InlineData("--group is 'tensor'", "--method", "rtn", "--group", "tensor", "--bits", "4")]
    [InlineData("name two formats", "--method", "smooth", "--type", "Q8_0")]
    [InlineData("--search best is what", "--method", "nf4", "--search", "best")]
    [InlineData("--pure speaks of the mix", "--method", "nf4", "--pure")]
    [InlineData("give it a text of what the model will be used for with --text", "--method", "gptq", "--group", "64")]
    [InlineData("--range says how a static range", "--method", "smooth", "--range", "mse")]
    [InlineData("--held-out is the part of the text", "--method", "smooth", "--held-out", "0.1")]
    [InlineData("--held-out is 0.7; 0 to 0.5", "--method", "smooth", "--activations", "static", "--held-out", "0.7")]
    [InlineData("--activations static is what only an encoding", "--type", "Q8_0", "--activations", "static")]
    [InlineData("give it a text of what the model will be used for with --text", "--method", "rtn", "--activations", "static")]
    [InlineData("'frozen' not recognized", "--method", "rtn", "--activations", "frozen")]
    [InlineData("'most' not recognized", "--method", "rtn", "--activations", "static", "--range", "most")]
    [InlineData("--threshold is what only --method int8 has", "--method", "rtn", "--threshold", "6")]
    [InlineData("--threshold is what only --method int8 has", "--type", "Q8_0", "--threshold", "6")]
    [InlineData("--threshold is 0; a number above 0", "--method", "int8", "--threshold", "0")]
    [InlineData("--threshold is -6; a number above 0", "--method", "int8", "--threshold=-6")]
    [InlineData("--activations static rounds all", "--method", "int8", "--threshold", "6", "--activations", "static")]
    [InlineData("give it a text of what the model will be used for with --text", "--method", "int8", "--threshold", "6")]
    [InlineData("is no format of weights (--tensor)", "--method", "rtn", "--tensor", "attn_v=llm.int8:t0")]
    [InlineData("--act-order is what only --method gptq has", "--method", "rtn", "--act-order")]
    [InlineData("cannot round into F16", "--method", "gptq", "--type", "F16")]
    [InlineData("cannot round into Q4_K", "--method", "hqq", "--type", "Q4_K_M")]
    [InlineData("--asym is what only integers", "--method", "hqq", "--asym")]
    [InlineData("--search best is what", "--method", "awq", "--search", "best")]
    [InlineData("--text 'none.txt' would change nothing", "--type", "Q4_0", "--text", "none.txt")]
    [InlineData("there is no file", "--method", "gptq", "--group", "64", "--text", "none.txt")]
    [InlineData("by --method gptq", "--method", "awq", "--type", "Q4_K_M")]
    [InlineData("--chunk is about methods that look at activations", "--type", "Q4_0", "--chunk", "32")]
    [InlineData("--exact is about methods that look at activations", "--method", "nf4", "--exact")]
    [InlineData("(--save-recipe); make it first", "--type", "Q4_0", "--save-recipe", "no-folder/recipe.json")]
    [InlineData("'worst' not recognized", "--type", "Q4_0", "--search", "worst")]
    public void A_mistake_on_the_command_line_is_named_and_no_file_is_left(string message, params string[] options)
    {
        Synth();
        Cli.Result result = Cli.Run(["quantize", Model, Output, .. options]);
        Assert.Equal(2, result.ExitCode);
        Assert.Contains(message, result.Error, StringComparison.Ordinal);
        Assert.Equal([Model], Directory.GetFiles(_folder));
    }

    [Theory]
    [InlineData("--recipe")]
    [InlineData("--importance", "--type", "Q4_0")]
    [InlineData("--text", "--method", "gptq", "--group", "64")]
    [InlineData("--text", "--bpw", "4.5")]
    public void A_file_that_is_missing_or_a_folder_or_garbage_is_named_with_its_option(string option, params string[] options)
    {
        Synth();
        string missing = Path.Combine(_folder, "missing"), folder = Directory.CreateDirectory(Path.Combine(_folder, "folder")).FullName, garbage = Path.Combine(_folder, "garbage");
        File.WriteAllBytes(garbage, [.. Enumerable.Range(0, 3000).Select(i => (byte)(i * 37 + 130))]);
        Check(2, $"there is no file '{missing}' ({option})", missing);
        Check(2, $"'{folder}' ({option}) is a folder; name a file", folder);
        Check(null, "garbage", garbage);

        void Check(int? exitCode, string message, string file)
        {
            Cli.Result result = Cli.Run(["quantize", Model, Output, option, file, .. options]);
            Assert.Equal(exitCode ?? result.ExitCode, result.ExitCode);
            Assert.InRange(result.ExitCode, 1, 2);
            Assert.Contains(message, result.Error, StringComparison.Ordinal);
            Assert.Equal(["folder", "garbage", "model.gguf"], Directory.GetFileSystemEntries(_folder).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        }
    }

    [Theory]
    [InlineData("importance", "--out")]
    [InlineData("evaluate")]
    public void Texts_and_outputs_of_other_commands_are_checked_before_anything_is_loaded(string command, string? output = null)
    {
        Synth();
        string missing = Path.Combine(_folder, "missing"), text = Path.Combine(_folder, "text.txt");
        File.WriteAllText(text, "text");
        string[] written = output is null ? [] : [output, Output];
        Fails($"there is no file '{missing}' (--text)", ["--text", missing, .. written]);
        Fails($"'{_folder}' (--text) is a folder", ["--text", _folder, .. written]);
        File.WriteAllBytes(text, [0xC3, 0x28]);
        Fails("is not UTF-8 text", ["--text", text, .. written]);
        if (output is not null)
        {
            Fails($"there is no folder '{missing}'", "--text", text, output, Path.Combine(missing, "out"));
            Fails($"'{_folder}' ({output}) is a folder", "--text", text, output, _folder);
        }
        else
        {
            File.WriteAllText(text, "text");
            Fails("missing", "--text", text, "--baseline", missing);
        }

        void Fails(string message, params string[] options)
        {
            Cli.Result result = Cli.Run([command, Model, .. options]);
            Assert.InRange(result.ExitCode, 1, 2);
            Assert.Contains(message, result.Error, StringComparison.Ordinal);
            Assert.False(File.Exists(Output));
        }
    }

    [Fact]
    public void A_file_cannot_become_itself_and_a_damaged_one_leaves_nothing()
    {
        Synth();
        Assert.Contains("is the file that is read", Cli.Run("quantize", Model, Model, "--type", "Q4_0").Error, StringComparison.Ordinal);
        byte[] bytes = File.ReadAllBytes(Model);
        File.WriteAllBytes(Model, bytes[..(bytes.Length / 2)]);
        Cli.Result result = Cli.Run("quantize", Model, Output, "--type", "Q4_0");
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("nibble: error: ", result.Error, StringComparison.Ordinal);
        Assert.Equal([Model], Directory.GetFiles(_folder));
    }

    private void Synth() => Cli.Run("synth", Model, "--type", "F16", "--width", "256", "--layers", "2", "--heads", "4", "--kv-heads", "2", "--head-size", "64", "--ffn", "256", "--vocab", "300").Succeeded();
}
