using System.Globalization;

namespace Nibble.Cli.Bench;

/// <summary>The outputs of <c>nibble bench</c>.</summary>
internal static class BenchOutput
{
    /// <summary>The formats, as <c>--output</c> names them.</summary>
    public static IReadOnlyList<string> Formats { get; } = ["md", "json", "jsonl", "csv"];

    /// <summary>The writer of a format of <see cref="Formats"/>.</summary>
    /// <param name="format">Its name.</param>
    /// <param name="tests">The tests that will run, for the columns that are worth showing.</param>
    /// <param name="hasBatches">Whether tests differ in their batch.</param>
    /// <exception cref="UsageException">There is no such format.</exception>
    public static ResultOutput<BenchResult> Create(string format, IReadOnlyList<BenchTest> tests, bool hasBatches) => format switch
    {
        "md" => new Markdown(tests, hasBatches),
        "json" => new JsonOutput<BenchResult>(BenchFields.Write),
        "jsonl" => new JsonLinesOutput<BenchResult>(BenchFields.Write),
        "csv" => new CsvOutput<BenchResult>(BenchFields.Names, BenchFields.Texts),
        _ => throw new UsageException($"'{format}' is no output format (--output); use {string.Join(", ", Formats)}."),
    };

    private sealed class Markdown(IReadOnlyList<BenchTest> tests, bool hasBatches) : MarkdownOutput<BenchResult>(Columns(tests, hasBatches))
    {
        public override void End()
        {
            Console.Out.Write("\n");
            WriteSetup(result => result.Setup.Description);
        }

        // Widths as llama-bench's.
        private static List<(string Title, int Width, Func<BenchResult, string> Value)> Columns(IReadOnlyList<BenchTest> tests, bool hasBatches)
        {
            List<(string Title, int Width, Func<BenchResult, string> Value)> columns =
            [
                ("model", -30, result => result.Setup.ModelType),
                ("size", 10, result => Scaled(result.Setup.ModelBytes, 1 << 30, "GiB", 1 << 20, "MiB")),
                ("params", 10, result => Scaled(result.Setup.Parameters, 1e9, "B", 1e6, "M")),
                ("backend", -10, result => result.Setup.Backend),
                ("threads", 7, result => result.Setup.Threads.ToString(CultureInfo.InvariantCulture)),
            ];
            if (hasBatches) columns.Add(("n_batch", 7, result => result.Setup.Batch.ToString(CultureInfo.InvariantCulture)));
            if (tests.Any(test => test.Kv != Core.Formats.BlockFormats.F16))
            {
                columns.Add(("type_k", 6, BenchFields.KvName));
                columns.Add(("type_v", 6, BenchFields.KvName));
            }

            columns.Add(("test", 15, result => result.Test.Name));
            columns.Add(("t/s", 20, result => string.Create(CultureInfo.InvariantCulture, $"{result.MeanSpeed:F2} \u00B1 {result.SpeedDeviation:F2}")));
            if (!tests.Any(test => test.IsDecode)) return columns;
            columns.Add(("GB/s", 8, result => result.BytesPerSecond is { } bytes ? (bytes / 1e9).ToString("F2", CultureInfo.InvariantCulture) : string.Empty));
            columns.Add(("of read", 18, result => result.ReadShare is { } share ? string.Create(CultureInfo.InvariantCulture, $"{100 * share:F0} % of {result.ReadBandwidth / 1e9:F2}") : string.Empty));
            return columns;
        }

        private static string Scaled(double value, double large, string largeUnit, double small, string smallUnit) => value < large
            ? string.Create(CultureInfo.InvariantCulture, $"{value / small:F2} {smallUnit}")
            : string.Create(CultureInfo.InvariantCulture, $"{value / large:F2} {largeUnit}");
    }
}
