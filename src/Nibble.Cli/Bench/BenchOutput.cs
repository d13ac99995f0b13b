using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Nibble.Cli.Bench;

/// <summary>Writes results as they come.</summary>
internal abstract class BenchOutput
{
    private static readonly JsonWriterOptions Compact = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
    private static readonly JsonWriterOptions Indented = Compact with { Indented = true };

    /// <summary>The formats, as <c>--output</c> names them.</summary>
    public static IReadOnlyList<string> Formats { get; } = ["md", "json", "jsonl", "csv"];

    /// <summary>The writer of a format of <see cref="Formats"/>.</summary>
    /// <param name="format">Its name.</param>
    /// <param name="tests">The tests that will run, for the columns that are worth showing.</param>
    /// <param name="hasBatches">Whether tests differ in their batch.</param>
    public static BenchOutput Create(string format, IReadOnlyList<BenchTest> tests, bool hasBatches) => format switch
    {
        "md" => new Markdown(tests, hasBatches),
        "json" => new Json(),
        "jsonl" => new JsonLines(),
        "csv" => new Csv(),
        _ => throw new UsageException($"'{format}' is no output format (--output); use {string.Join(", ", Formats)}."),
    };

    /// <summary>Before the first result.</summary>
    public abstract void Begin();

    /// <summary>A result.</summary>
    public abstract void Add(BenchResult result);

    /// <summary>After the last result, also where an interruption came first.</summary>
    public abstract void End();

    private static string Text(BenchResult result, JsonWriterOptions options)
    {
        using MemoryStream buffer = new();
        using (Utf8JsonWriter writer = new(buffer, options))
            BenchFields.Write(writer, result);
        return Encoding.UTF8.GetString(buffer.ToArray());
    }

    private sealed class Json : BenchOutput
    {
        private bool _hasResults;

        public override void Begin() => Console.Out.Write("[\n");

        public override void Add(BenchResult result)
        {
            // The comma comes with the next result, on a line of its own, since the status line would overwrite a line that has not ended.
            string text = "  " + Text(result, Indented).ReplaceLineEndings("\n").Replace("\n", "\n  ", StringComparison.Ordinal);
            Console.Out.Write((_hasResults ? "  ,\n" : string.Empty) + text + "\n");
            Console.Out.Flush();
            _hasResults = true;
        }

        public override void End() => Console.Out.Write("]\n");
    }

    private sealed class JsonLines : BenchOutput
    {
        public override void Begin()
        {
        }

        public override void Add(BenchResult result)
        {
            Console.Out.Write(Text(result, Compact) + "\n");
            Console.Out.Flush();
        }

        public override void End()
        {
        }
    }

    private sealed class Csv : BenchOutput
    {
        public override void Begin() => Console.Out.Write(string.Join(',', BenchFields.Names) + "\n");

        public override void Add(BenchResult result)
        {
            Console.Out.Write(string.Join(',', BenchFields.Texts(result).Select(text => '"' + text.Replace("\"", "\"\"", StringComparison.Ordinal) + '"')) + "\n");
            Console.Out.Flush();
        }

        public override void End()
        {
        }
    }

    private sealed class Markdown : BenchOutput
    {
        // Widths as llama-bench's; negative ones are left-aligned.
        private readonly List<(string Title, int Width, Func<BenchResult, string> Value)> _columns;
        private readonly List<string> _devices = [];

        public Markdown(IReadOnlyList<BenchTest> tests, bool hasBatches)
        {
            _columns =
            [
                ("model", -30, result => result.Setup.ModelType),
                ("size", 10, result => Scaled(result.Setup.ModelBytes, 1 << 30, "GiB", 1 << 20, "MiB")),
                ("params", 10, result => Scaled(result.Setup.Parameters, 1e9, "B", 1e6, "M")),
                ("backend", -10, result => result.Setup.Backend),
                ("threads", 7, result => result.Setup.Threads.ToString(CultureInfo.InvariantCulture)),
            ];
            if (hasBatches) _columns.Add(("n_batch", 7, result => result.Setup.Batch.ToString(CultureInfo.InvariantCulture)));
            if (tests.Any(test => test.Kv != Core.Formats.BlockFormats.F16))
            {
                _columns.Add(("type_k", 6, BenchFields.KvName));
                _columns.Add(("type_v", 6, BenchFields.KvName));
            }

            _columns.Add(("test", 15, result => result.Test.Name));
            _columns.Add(("t/s", 20, result => string.Create(CultureInfo.InvariantCulture, $"{result.MeanSpeed:F2} \u00B1 {result.SpeedDeviation:F2}")));
            if (!tests.Any(test => test.IsDecode)) return;
            _columns.Add(("GB/s", 8, result => result.BytesPerSecond is { } bytes ? (bytes / 1e9).ToString("F2", CultureInfo.InvariantCulture) : string.Empty));
            _columns.Add(("of read", 18, result => result.ReadShare is { } share ? string.Create(CultureInfo.InvariantCulture, $"{100 * share:F0} % of {result.ReadBandwidth / 1e9:F2}") : string.Empty));
        }

        public override void Begin()
        {
            Console.Out.Write($"|{string.Concat(_columns.Select(column => $" {Padded(column.Title, column.Width)} |"))}\n");
            Console.Out.Write($"|{string.Concat(_columns.Select(column => $" {new string('-', Math.Abs(column.Width) - 1)}{(column.Width > 0 ? ':' : '-')} |"))}\n");
            Console.Out.Flush();
        }

        public override void Add(BenchResult result)
        {
            if (!_devices.Contains(result.Setup.Description)) _devices.Add(result.Setup.Description);
            Console.Out.Write($"|{string.Concat(_columns.Select(column => $" {Padded(column.Value(result), column.Width)} |"))}\n");
            Console.Out.Flush();
        }

        public override void End()
        {
            Console.Out.Write($"\nbuild: {BenchFields.Commit}; {ProcessorName.Value}\n");
            foreach (string device in _devices)
                Console.Out.Write($"device: {device}\n");
        }

        private static string Padded(string text, int width) => width < 0 ? text.PadRight(-width) : text.PadLeft(width);

        private static string Scaled(double value, double large, string largeUnit, double small, string smallUnit) => value < large
            ? string.Create(CultureInfo.InvariantCulture, $"{value / small:F2} {smallUnit}")
            : string.Create(CultureInfo.InvariantCulture, $"{value / large:F2} {largeUnit}");
    }
}
