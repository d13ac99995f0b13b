using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using Spectre.Console;

namespace Peers;

/// <summary>What was compared, for the head of a report.</summary>
/// <param name="Command">The command line.</param>
/// <param name="Machine">Lines about the machine.</param>
/// <param name="Versions">Lines about each side's version.</param>
/// <param name="Rounds">Rounds.</param>
internal sealed record ReportHead(string Command, (string Name, string Value)[] Machine, (string Name, string Value)[] Versions, int Rounds);

/// <summary>Prints results: a table for people, in Markdown where the output is redirected, or JSON.</summary>
internal static class Report
{
    private static readonly (string Side, string Title)[] Columns =
        [(SideNames.Nibble, "Nibble"), (SideNames.Npm, "llama.cpp npm"), (SideNames.Native, "llama.cpp native"), (SideNames.Ik, "ik_llama.cpp")];

    /// <summary>Writes the head and a table of all tests.</summary>
    public static void WriteTable(ReportHead head, IReadOnlyCollection<GroupResult> results)
    {
        foreach ((string name, string value) in head.Machine.Concat(head.Versions).Prepend(("command", head.Command))) Console.WriteLine($"- {name}: {value}");
        foreach (IGrouping<string, string> lines in Notes(results)) Console.WriteLine($"- {lines.Key}: {string.Join("; ", lines.Distinct())}");
        Console.WriteLine($"- tokens per second, medians of {head.Rounds} alternating rounds ± half of the range\n");
        Table table = new() { Border = Console.IsOutputRedirected ? TableBorder.Markdown : TableBorder.Rounded };
        table.AddColumns("model", "threads", "KV", "test");
        (string Side, string Title)[] columns = [.. Columns.Where(column => results.Any(result => result.Find(column.Side) is not null))];
        bool hasNibble = columns[0].Side == SideNames.Nibble, hasIk = columns[^1].Side == SideNames.Ik;
        foreach ((_, string title) in columns) table.AddColumn(new TableColumn(title).RightAligned());
        if (hasNibble)
        {
            table.AddColumn(new TableColumn("Nibble / llama.cpp").RightAligned());
            if (hasIk) table.AddColumn(new TableColumn("Nibble / ik_llama.cpp").RightAligned());
            table.AddColumn(new TableColumn("Nibble GB/s").RightAligned());
        }

        table.AddColumn(new TableColumn("read GB/s").RightAligned());
        if (hasNibble) table.AddColumn(new TableColumn("share").RightAligned());
        foreach (GroupResult result in results)
            for (int test = 0; test < result.Group.Tests.Length; test++)
            {
                List<string> row = [result.Group.ModelName, Text(result.Group.Threads), result.Group.Kv, result.Group.Tests[test].Name(result.Group.Depth)];
                row.AddRange(columns.Select(column => Rate(result.Find(column.Side), test)));
                double? read = result.Find(SideNames.Bandwidth)?.Median(0);
                if (hasNibble)
                {
                    row.Add(Ratio(Quotient(result, test, result.Peer(test))));
                    if (hasIk) row.Add(Ratio(Quotient(result, test, result.Find(SideNames.Ik))));
                    row.Add(Ratio(BytesPerSecond(result, test) * 1e-9, "0.0"));
                }

                row.Add(Ratio(read * 1e-9, "0.0"));
                if (hasNibble) row.Add(Ratio(BytesPerSecond(result, test) / read));
                table.AddRow([.. row.Select(Markup.Escape)]);
            }

        if (Console.IsOutputRedirected) AnsiConsole.Profile.Width = 1000;
        AnsiConsole.Write(table);
    }

    /// <summary>Everything as one JSON object.</summary>
    public static void WriteJson(ReportHead head, IReadOnlyCollection<GroupResult> results)
    {
        using Stream output = Console.OpenStandardOutput();
        using Utf8JsonWriter writer = new(output, new JsonWriterOptions { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
        writer.WriteStartObject();
        writer.WriteString("command", head.Command);
        writer.WriteNumber("rounds", head.Rounds);
        WriteLines(writer, "machine", head.Machine);
        WriteLines(writer, "versions", head.Versions);
        writer.WriteStartArray("groups");
        foreach (GroupResult result in results) Write(writer, result);
        writer.WriteEndArray();
        writer.WriteEndObject();
        writer.Flush();
        output.WriteByte((byte)'\n');
    }

    /// <summary>A line about a group: medians, and Nibble's ratios.</summary>
    public static string Summary(GroupResult result) =>
        string.Join("; ", result.Group.Tests.Select((test, i) => $"{test.Name(result.Group.Depth)} "
            + string.Join(", ", result.Sides.Where(side => side.Side != SideNames.Bandwidth).Select(side => $"{side.Side} {Rate(side, i)}"))
            + (Quotient(result, i, result.Peer(i)) is { } ratio ? $", Nibble / llama.cpp {Ratio(ratio)}" : string.Empty)));

    /// <summary>Bytes of weights, keys and values that Nibble reads in a second of decoding; null for a prefill, which reads weights once for many tokens.</summary>
    private static double? BytesPerSecond(GroupResult result, int test)
    {
        if (result.Group.Tests[test] is not { Kind: TestKind.Decode, Tokens: int tokens } || result.Find(SideNames.Nibble) is not { Loaded: { WeightBytes: { } weights, KvBytesPerPosition: { } kv } } nibble) return null;
        double positions = result.Group.Depth + ((tokens + 1) / 2.0);
        return nibble.Median(test) * (weights + (kv * positions));
    }

    private static double? Quotient(GroupResult result, int test, SideResult? other) => result.Find(SideNames.Nibble)?.Median(test) / other?.Median(test);

    private static string Rate(SideResult? side, int test) =>
        side is null ? string.Empty : side.Error is not null ? "failed" : side.Median(test) is not { } median ? "-"
            : string.Create(CultureInfo.InvariantCulture, $"{median:0.0} ± {100 * Statistics.Spread(side.Rates[test]):0} %");

    private static string Ratio(double? value, string format = "0.00") => value is { } known ? known.ToString(format, CultureInfo.InvariantCulture) : "-";

    private static string Text(int value) => value.ToString(CultureInfo.InvariantCulture);

    // What the sides said of themselves, and why some failed: the same line only once.
    private static IEnumerable<IGrouping<string, string>> Notes(IEnumerable<GroupResult> results) =>
        results.SelectMany(result => result.Sides.Select(side => (side.Side, Text: Note(result.Group, side)))).GroupBy(note => note.Side, note => note.Text);

    private static string Note(Group group, SideResult side)
    {
        if (side.Error is not null) return $"{group.ModelName} {group.Kv} failed: {side.Error}";
        string memory = side.Loaded is { LoadSeconds: { } seconds, LoadPeakBytes: { } peak, AnonymousBytes: { } bytes }
            ? string.Create(CultureInfo.InvariantCulture, $", loaded in {seconds:0.00} s with at most {peak / 1048576.0:0} MiB RssAnon, {bytes / 1048576.0:0} MiB at the end") : string.Empty;
        return side.Side == SideNames.Bandwidth ? side.Loaded!.Description : $"[{group.ModelName} {group.Kv}] {side.Loaded!.Description}{memory}";
    }

    private static void WriteLines(Utf8JsonWriter writer, string name, (string Name, string Value)[] lines)
    {
        writer.WriteStartObject(name);
        foreach ((string key, string value) in lines) writer.WriteString(key, value);
        writer.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter writer, GroupResult result)
    {
        writer.WriteStartObject();
        writer.WriteString("model", result.Group.ModelName);
        writer.WriteNumber("threads", result.Group.Threads);
        writer.WriteString("kv", result.Group.Kv);
        writer.WriteNumber("depth", result.Group.Depth);
        writer.WriteStartArray("sides");
        foreach (SideResult side in result.Sides)
        {
            writer.WriteStartObject();
            writer.WriteString("side", side.Side);
            writer.WriteString("error", side.Error);
            writer.WriteString("description", side.Loaded?.Description);
            if (side.Loaded is { LoadSeconds: { } seconds }) writer.WriteNumber("load_seconds", seconds);
            if (side.Loaded is { LoadPeakBytes: { } peak }) writer.WriteNumber("load_peak_anonymous_bytes", peak);
            if (side.Loaded is { AnonymousBytes: { } bytes }) writer.WriteNumber("anonymous_bytes", bytes);
            writer.WriteStartArray("tests");
            for (int test = 0; test < side.Rates.Length; test++)
            {
                writer.WriteStartObject();
                bool isBandwidth = side.Side == SideNames.Bandwidth;
                writer.WriteString("test", isBandwidth ? "read" : result.Group.Tests[test].Name(result.Group.Depth));
                writer.WriteString("unit", isBandwidth ? "B/s" : "t/s");
                if (side.Median(test) is { } median) writer.WriteNumber("median", median);
                writer.WriteStartArray("samples");
                foreach (double rate in side.Rates[test]) writer.WriteNumberValue(rate);
                writer.WriteEndArray();
                writer.WriteEndObject();
            }

            writer.WriteEndArray();
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        writer.WriteStartArray("ratios");
        for (int test = 0; test < result.Group.Tests.Length; test++)
        {
            writer.WriteStartObject();
            writer.WriteString("test", result.Group.Tests[test].Name(result.Group.Depth));
            writer.WriteString("peer", result.Peer(test)?.Side);
            WriteRatio(writer, "nibble_over_peer", Quotient(result, test, result.Peer(test)));
            WriteRatio(writer, "nibble_over_ik", Quotient(result, test, result.Find(SideNames.Ik)));
            WriteRatio(writer, "nibble_share_of_read_bandwidth", BytesPerSecond(result, test) / result.Find(SideNames.Bandwidth)?.Median(0));
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        writer.WriteEndObject();
    }

    private static void WriteRatio(Utf8JsonWriter writer, string name, double? value)
    {
        if (value is { } known) writer.WriteNumber(name, known);
        else writer.WriteNull(name);
    }
}
