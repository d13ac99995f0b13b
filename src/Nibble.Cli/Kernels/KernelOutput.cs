using System.Globalization;
using System.Text.Json;
using Nibble.Cli.Bench;
using Nibble.Core.Formats;

namespace Nibble.Cli.Kernels;

/// <summary>The outputs of <c>nibble kernels</c>.</summary>
internal static class KernelOutput
{
    private static readonly (string Name, Func<KernelResult, object?> Value)[] Fields =
    [
        ("build_commit", _ => BenchFields.Commit),
        ("cpu_info", _ => ProcessorName.Value),
        ("device", result => result.Device),
        ("cpu_path", result => result.Path),
        ("n_threads", result => (long)result.Threads),
        ("kernel", _ => "matmul"),
        ("format", result => result.Format.Name),
        ("instructions", result => result.Instructions),
        ("rows", result => (long)result.Shape.Rows),
        ("columns", result => (long)result.Shape.Columns),
        ("tokens", result => (long)result.Tokens),
        ("copies", result => (long)result.Copies),
        ("file_bytes", result => result.FileBytes),
        ("weight_bytes", result => result.WeightBytes),
        ("from_memory", result => result.IsFromMemory),
        ("median_ns", result => result.Seconds * 1e9),
        ("mac_per_byte", result => result.Intensity),
        ("gmac_per_s", result => result.MacsPerSecond / 1e9),
        ("gb_per_s", result => result.BytesPerSecond / 1e9),
        ("peak_gmac_per_s", result => result.Peaks.Macs / 1e9),
        ("read_gb_per_s", result => result.Peaks.ReadBytes / 1e9),
        ("compute_share", result => result.ComputeShare),
        ("read_share", result => result.ReadShare),
        ("share", result => result.Share),
        ("bound", Bound),
    ];

    /// <summary>The formats, as <c>--output</c> names them.</summary>
    public static IReadOnlyList<string> Formats { get; } = ["md", "json", "csv"];

    /// <summary>The writer of a format of <see cref="Formats"/>.</summary>
    /// <param name="format">Its name.</param>
    /// <param name="weights">The formats of weights that will be measured.</param>
    /// <exception cref="UsageException">There is no such format.</exception>
    public static ResultOutput<KernelResult> Create(string format, IEnumerable<BlockFormat> weights) => format switch
    {
        "md" => new Markdown(weights.Max(one => one.Name.Length)),
        "json" => new JsonOutput<KernelResult>(Write),
        "csv" => new CsvOutput<KernelResult>(Fields.Select(field => field.Name), result => Fields.Select(field => FieldValues.Text(field.Value(result)))),
        _ => throw new UsageException($"'{format}' is no output format (--output); use {string.Join(", ", Formats)}."),
    };

    /// <summary>What a result is nearest to: <c>memory</c> or <c>compute</c>.</summary>
    public static string Bound(KernelResult result) => result.IsNearMemory ? "memory" : "compute";

    private static void Write(Utf8JsonWriter writer, KernelResult result)
    {
        writer.WriteStartObject();
        foreach ((string name, Func<KernelResult, object?> value) in Fields)
        {
            writer.WritePropertyName(name);
            FieldValues.Write(writer, value(result));
        }

        writer.WriteStartArray("samples_ns");
        foreach (double seconds in result.Samples)
            writer.WriteNumberValue(Math.Round(seconds * 1e9, 3));
        writer.WriteEndArray();
        writer.WriteEndObject();
    }

    private sealed class Markdown(int longestName) : MarkdownOutput<KernelResult>(Columns(Math.Max(longestName, 7)))
    {
        private static (string Title, int Width, Func<KernelResult, string> Value)[] Columns(int nameWidth) =>
        [
            ("cpu path", -9, result => result.Path),
            ("format", -nameWidth, result => result.Format.Name),
            ("instructions", -34, result => result.Instructions),
            ("shape", 11, result => result.Shape.ToString()),
            ("tokens", 6, result => result.Tokens.ToString(CultureInfo.InvariantCulture)),
            ("GMAC/s", 8, result => (result.MacsPerSecond / 1e9).ToString("F2", CultureInfo.InvariantCulture)),
            ("GB/s", 8, result => (result.BytesPerSecond / 1e9).ToString("F2", CultureInfo.InvariantCulture)),
            ("of peak", 7, result => string.Create(CultureInfo.InvariantCulture, $"{100 * result.Share:F0} %")),
            ("nearest bound", -16, result => Bound(result) + (result.IsFromMemory ? string.Empty : " (cached)")),
        ];

        public override void End()
        {
            Console.Out.Write("\n");
            foreach (IGrouping<string, KernelResult> path in Results.GroupBy(result => result.Path))
            {
                Console.Out.Write(string.Create(CultureInfo.InvariantCulture, $"peak: {path.Key}, {path.First().Threads} threads: memory {KernelResult.Median(path.Select(result => result.Peaks.ReadBytes)) / 1e9:F2} GB/s"));
                foreach (IGrouping<string, KernelResult> same in path.GroupBy(result => result.Instructions))
                    Console.Out.Write(string.Create(CultureInfo.InvariantCulture, $"; {same.Key} {KernelResult.Median(same.Select(result => result.Peaks.Macs)) / 1e9:F1} GMAC/s"));
                Console.Out.Write("\n");
            }

            WriteSetup(result => result.Description);
        }
    }
}
