using System.Text.Json;
using System.Xml.Linq;

namespace Nibble.Cli.Tests;

/// <summary><c>nibble kernels</c>.</summary>
public sealed class KernelsTests : IDisposable
{
    private static readonly string[] Keys =
    [
        "build_commit", "cpu_info", "device", "cpu_path", "n_threads", "kernel", "format", "instructions", "rows", "columns", "tokens", "copies", "file_bytes", "weight_bytes", "from_memory",
        "median_ns", "mac_per_byte", "gmac_per_s", "gb_per_s", "peak_gmac_per_s", "read_gb_per_s", "compute_share", "read_share", "share", "bound",
    ];

    private readonly string _folder = Directory.CreateTempSubdirectory("nibble-kernels-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Json_has_numbers_that_fit_one_another()
    {
        JsonElement[] results = Json("-f", "q8_0,F32", "-s", "48x256,32x512", "-n", "1,3", "-r", "3", "-t", "2");
        Assert.Equal(
            ["Q8_0 48x256 1", "Q8_0 48x256 3", "Q8_0 32x512 1", "Q8_0 32x512 3", "F32 48x256 1", "F32 48x256 3", "F32 32x512 1", "F32 32x512 3"],
            results.Select(result => $"{Text(result, "format")} {Number(result, "rows")}x{Number(result, "columns")} {Number(result, "tokens")}"));
        foreach (JsonElement result in results)
        {
            Assert.Equal([.. Keys, "samples_ns"], result.EnumerateObject().Select(property => property.Name));
            Assert.Equal("cpu", Text(result, "device"));
            Assert.Equal(2, Number(result, "n_threads"));
            double weights = Number(result, "rows") * Number(result, "columns"), bits = Text(result, "format") == "F32" ? 32 : 8.5;
            Assert.Equal(weights * bits / 8, Number(result, "file_bytes"));
            // Both formats are as large when products read them.
            Assert.Equal(Number(result, "file_bytes"), Number(result, "weight_bytes"));
            double[] samples = [.. result.GetProperty("samples_ns").EnumerateArray().Select(value => value.GetDouble()).Order()];
            Assert.Equal(3, samples.Length);
            Assert.True(samples[0] > 0);
            Near(samples[1], Number(result, "median_ns"));
            Near(weights * Number(result, "tokens") / samples[1], Number(result, "gmac_per_s"));
            Near(Number(result, "weight_bytes") / samples[1], Number(result, "gb_per_s"));
            Near(weights * Number(result, "tokens") / Number(result, "weight_bytes"), Number(result, "mac_per_byte"));
            Near(Number(result, "gmac_per_s") / Number(result, "peak_gmac_per_s"), Number(result, "compute_share"));
            Assert.True(Number(result, "read_gb_per_s") > 0);
        }
    }

    [Fact]
    public void Shares_are_of_the_nearer_bound_and_what_the_caches_hold_is_told_from_what_they_do_not()
    {
        // The most matrices that are made have a few MB together here, which caches of the last level hold, or not: the command tells.
        JsonElement small = Assert.Single(Json("-f", "Q4_0", "-s", "16x256", "-n", "1", "-r", "1"));
        Assert.Equal(1024, Number(small, "copies"));
        if (!small.GetProperty("from_memory").GetBoolean())
        {
            Assert.Equal(JsonValueKind.Null, small.GetProperty("read_share").ValueKind);
            Assert.Equal("compute", Text(small, "bound"));
        }

        foreach (JsonElement result in Json("-f", "Q4_0", "-s", "2048x2048", "-n", "1,64", "-r", "1"))
        {
            Assert.True(result.GetProperty("from_memory").GetBoolean());
            Assert.True(Number(result, "copies") * Number(result, "weight_bytes") >= 64 << 20);
            double read = Number(result, "read_share"), compute = Number(result, "compute_share");
            Near(Number(result, "gb_per_s") / Number(result, "read_gb_per_s"), read);
            Assert.Equal(Math.Max(read, compute), Number(result, "share"));
            Assert.Equal(read > compute ? "memory" : "compute", Text(result, "bound"));
        }
    }

    [Fact]
    public void Every_format_has_a_row_on_the_plainest_path()
    {
        string[] lines = Cli.Run("kernels", "-s", "16x256", "-n", "9", "-r", "1", "-t", "1", "--cpu-path", "vector128").Succeeded().Output.Split('\n');
        Assert.Equal(["cpu path", "format", "instructions", "shape", "tokens", "GMAC/s", "GB/s", "of peak", "nearest bound"], Cells(lines[0]));
        Assert.Matches("^\\|( -+[-:] \\|)+$", lines[1]);
        string[][] rows = [.. lines.Skip(2).TakeWhile(line => line.Length > 0).Select(Cells)];
        Assert.Equal(Core.Formats.BlockFormats.All.Select(format => format.Name), rows.Select(row => row[1]));
        Assert.All(rows, row => Assert.Equal(["vector128", "16x256", "9"], [row[0], row[3], row[4]]));
        Assert.All(rows, row => Assert.Matches("^[0-9]+ %$", row[7]));
        Assert.Contains(lines, line => line.StartsWith("peak: vector128, 1 threads: memory ", StringComparison.Ordinal) && line.Contains("128-bit pair products", StringComparison.Ordinal));
        Assert.Contains(lines, line => line.StartsWith("device: ", StringComparison.Ordinal));
    }

    [Fact]
    public void Encodings_are_measured_where_they_are_asked_for()
    {
        JsonElement[] results = Json("-f", "nf4_b64,INT4_g128,int4_g128_zeros,int8_row,fp8_128x128", "-s", "48x256", "-n", "1,3", "-r", "1");
        Assert.Equal(["nf4_b64", "int4_g128", "int4_g128_zeros", "int8_row", "fp8_128x128"], results.Where(result => Number(result, "tokens") == 3).Select(result => Text(result, "format")));
        double[] bits = [4.5, 4.25, 4.3125, 8.25, 8.25];
        for (int i = 0; i < bits.Length; i++)
            Assert.Equal(48 * 256 * bits[i] / 8, Number(results[2 * i], "weight_bytes"));

        // Codes, and scales in F16: two in a row.
        Assert.Equal((48 * 128) + (48 * 2 * 2), Number(results[2], "file_bytes"));
        Assert.Contains("float32", Text(results[^1], "instructions"), StringComparison.Ordinal);
        Assert.Contains("products", Text(results[0], "instructions"), StringComparison.Ordinal);
    }

    [Fact]
    public void Rows_of_a_table_are_as_long_as_its_title_whatever_the_names()
    {
        string[] lines = Cli.Run("kernels", "-f", "int3_g128_zeros,Q4_0", "-s", "48x256", "-n", "1", "-r", "1").Succeeded().Output.Split('\n');
        Assert.Equal(["int3_g128_zeros", "Q4_0"], lines.Skip(2).Take(2).Select(line => Cells(line)[1]));
        Assert.All(lines.Take(4), line => Assert.Equal(lines[0].Length, line.Length));
    }

    [Fact]
    public void Csv_holds_the_same_fields()
    {
        string[] lines = Cli.Run("kernels", "-f", "Q6_K", "-s", "32x256", "-n", "1,2", "-r", "1", "-o", "csv").Succeeded().Output.Split('\n');
        Assert.Equal(Keys, lines[0].Split(','));
        Assert.Equal(3, lines.Count(line => line.Length > 0));
        string[] values = lines[2][1..^1].Split("\",\"");
        Assert.Equal(Keys.Length, values.Length);
        Assert.Equal("Q6_K", values[Array.IndexOf(Keys, "format")]);
        Assert.Equal("2", values[Array.IndexOf(Keys, "tokens")]);
    }

    [Theory]
    [InlineData("--cpu-path", "all")]
    [InlineData("-t", "1")]
    public void The_picture_is_well_formed_and_has_a_mark_a_row_within_its_frame(params string[] options)
    {
        string file = Path.Combine(_folder, "roof & line.svg");
        JsonElement[] results = Json(["-f", "Q4_0,F16", "-s", "32x64,64x32", "-n", "1,2,3,4,5,6,7", "-r", "1", "--svg", file, .. options]);
        int paths = results.Select(result => Text(result, "cpu_path")).Distinct().Count();
        Assert.Equal(2 * 2 * 7 * paths, results.Length);
        XElement svg = XDocument.Load(file).Root!;
        XNamespace svgNames = "http://www.w3.org/2000/svg";
        Assert.Equal(svgNames + "svg", svg.Name);
        Assert.DoesNotContain(svg.Descendants(), element => element.Name.LocalName is "script" or "image" or "foreignObject");
        Assert.Contains("prefers-color-scheme: dark", svg.Element(svgNames + "style")!.Value, StringComparison.Ordinal);
        XElement[] marks = [.. svg.Elements(svgNames + "path").Where(path => ((string)path.Attribute("class")!).Split(' ')[0] == "mark")];
        Assert.Equal(results.Length, marks.Length);
        XElement frame = svg.Elements(svgNames + "rect").Single(rect => (string?)rect.Attribute("class") == "frame");
        double left = (double)frame.Attribute("x")!, top = (double)frame.Attribute("y")!, width = (double)frame.Attribute("width")!, height = (double)frame.Attribute("height")!;
        foreach ((XElement mark, JsonElement result) in marks.Zip(results))
        {
            string[] place = ((string)mark.Attribute("transform")!)["translate(".Length..^1].Split(' ');
            Assert.InRange(double.Parse(place[0], System.Globalization.CultureInfo.InvariantCulture), left, left + width);
            Assert.InRange(double.Parse(place[1], System.Globalization.CultureInfo.InvariantCulture), top, top + height);
            Assert.StartsWith($"{Text(result, "format")} {Number(result, "rows")}x{Number(result, "columns")}, {Number(result, "tokens")} tokens, {Text(result, "cpu_path")}", mark.Element(svgNames + "title")!.Value, StringComparison.Ordinal);
        }

        // The seventh number of tokens has the first symbol again, hollow.
        Assert.Equal(results.Count(result => Number(result, "tokens") == 7), marks.Count(mark => (string)mark.Attribute("class")! == "mark hollow"));
        XElement[] labels = [.. svg.Elements(svgNames + "text").Where(text => text.Value.EndsWith(" GMAC/s", StringComparison.Ordinal))];
        double[] names = [.. labels.Select(text => (double)text.Attribute("y")!).Order()];
        Assert.Equal(results.Select(result => Text(result, "instructions")).Distinct().Count(), names.Length);
        Assert.All(names.Zip(names.Skip(1)), pair => Assert.True(pair.Second - pair.First >= 12, $"names of ceilings at {pair.First} and {pair.Second} lie on one another"));
        // Beside the ceilings' lines, not on them, and within the frame.
        double[] starts = [.. svg.Elements(svgNames + "path").Where(path => (string)path.Attribute("class")! == "roof" && ((string)path.Attribute("d")!).Contains('H')).Select(path => double.Parse(((string)path.Attribute("d")!)[1..].Split(' ')[0], System.Globalization.CultureInfo.InvariantCulture))];
        Assert.All(labels, label => Assert.InRange((double)label.Attribute("x")!, left + (6 * label.Value.Length), starts.Max() - 5));
        // Memory's slope and the ceiling of each kind of instructions.
        Assert.Equal(1 + results.Select(result => Text(result, "instructions")).Distinct().Count(), svg.Elements(svgNames + "path").Count(path => (string)path.Attribute("class")! == "roof"));
    }

    [Theory]
    [InlineData("'Q9' is no format of weights (--format)", "-f", "Q9")]
    [InlineData("'2048' is no shape (--shape)", "-s", "2048")]
    [InlineData("'0x64' (--shape) has 0 rows", "-s", "0x64")]
    [InlineData("16x64 (--shape) has 64 columns; Q4_K needs a multiple of 256", "-s", "16x64", "-f", "Q4_0,Q4_K")]
    [InlineData("16x48 (--shape) has 48 columns; F32 needs a multiple of 32", "-s", "16x48", "-f", "F32")]
    [InlineData("16x96 (--shape): random has 96 columns, which groups of 128 do not divide; 32 and the whole row (96) are possible.", "-s", "16x96", "-f", "int4_g128")]
    [InlineData("int4_g64, int4_g128", "-f", "int4_g100")]
    [InlineData("--tokens is 0; it must be 1 to 65536", "-n", "0")]
    [InlineData("--repetitions is 0", "-r", "0")]
    [InlineData("--threads is 2000", "-t", "2000")]
    [InlineData("'xml' is no output format (--output)", "-o", "xml")]
    [InlineData("no CPU path 'abacus'", "--cpu-path", "abacus")]
    [InlineData("there is no device 'tpu' (--device); use auto, cpu or opencl.", "--device", "tpu")]
    [InlineData("device 'cuda:1' (--device) cannot be used: this version has no CUDA backend; use auto, cpu or opencl.", "--device", "cuda:1")]
    [InlineData("device 'opencl:99' (--device)", "--device", "opencl:99")]
    [InlineData("device 'reference' (--device) has no kernels to measure; use auto, cpu or opencl.", "--device", "reference")]
    [InlineData("(--svg) is in a folder that does not exist", "--svg", "no-such-folder/roof.svg")]
    public void A_mistake_is_named_and_nothing_is_written(string message, params string[] options)
    {
        Cli.Result result = Cli.Run(["kernels", .. options]);
        Assert.Equal(2, result.ExitCode);
        Assert.Contains(message, result.Error, StringComparison.Ordinal);
        Assert.Equal(string.Empty, result.Output);
    }

    [Fact]
    public void What_does_not_fit_into_memory_is_refused()
    {
        Cli.Result result = Cli.Run("kernels", "-f", "F32", "-s", "1048576x1048576", "-n", "1", "-r", "1");
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("a matrix of F32 with 1048576x1048576 values", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Ctrl_C_ends_with_whole_output()
    {
        if (!OperatingSystem.IsLinux()) return;
        using PseudoTerminal terminal = PseudoTerminal.Start(Cli.Host, Cli.Assembly, "kernels", "-f", "Q4_0,Q8_0", "-s", "16x256", "-n", "1,65536", "-r", "2", "-o", "json", "-t", "1");
        terminal.WaitFor("Q8_0 16x256: 1 token");
        terminal.Type(PseudoTerminal.CtrlC);
        Assert.Equal(130, terminal.WaitForExit());
        Assert.Contains("\"tokens\": 1,", terminal.Output, StringComparison.Ordinal);
        Assert.Matches("\\}[^{}\\]]*\\]\\s+nibble: error: interrupted", terminal.Output);
    }

    private static string[] Cells(string line) => [.. line.Trim('|').Split('|').Select(cell => cell.Trim())];

    private static JsonElement[] Json(params string[] options)
    {
        Cli.Result result = Cli.Run(["kernels", "-o", "json", .. options]).Succeeded();
        Assert.Equal(string.Empty, result.Error);
        return [.. JsonDocument.Parse(result.Output).RootElement.EnumerateArray()];
    }

    // Both have at most six digits behind the point.
    private static void Near(double expected, double actual) => Assert.InRange(actual, (expected * 0.999) - 1e-5, (expected * 1.001) + 1e-5);

    private static string Text(JsonElement result, string key) => result.GetProperty(key).GetString()!;

    private static double Number(JsonElement result, string key) => result.GetProperty(key).GetDouble();
}
