using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using Oracles;
using Spectre.Console;

namespace ArchitectureSuite;

/// <summary>Prints results: a table for people, plain lines where the output is redirected, JSON for programs.</summary>
internal static class Report
{
    private const int ReasonLength = 160;

    /// <summary>An NMSE with two digits.</summary>
    public static string Number(double value) => value.ToString("0.0e-00", CultureInfo.InvariantCulture);

    /// <summary>The word for a verdict.</summary>
    public static string Word(Verdict verdict) => verdict switch
    {
        Verdict.Pass => "pass",
        Verdict.Refused => "refused",
        Verdict.NoOracle => "no oracle",
        _ => "FAIL",
    };

    /// <summary>One line of fields for a model.</summary>
    public static void WriteLine(ModelResult result) =>
        Console.WriteLine($"{Word(result.Verdict),-9} {result.Name,-24} {result.Architecture,-18} {string.Join("  ", result.Devices.Select(device => $"{device.Device} {Nmse(device)}"))}  greedy {Greedy(result)}"
            + (Remark(result) is { Length: > 0 } remark ? "  " + remark : string.Empty));

    /// <summary>The line of totals.</summary>
    public static string Totals(IReadOnlyCollection<ModelResult> results) =>
        $"{results.Count} models: {string.Join(", ", Enum.GetValues<Verdict>().Select(verdict => $"{results.Count(result => result.Verdict == verdict)} {Word(verdict)}"))}"
        + $"; {results.Count(result => result.Verdict == Verdict.Pass && result.OtherBuild is not null)} of those that pass at some positions only by another build than {LlamaModel.PlainBuild}";

    /// <summary>A table of all models.</summary>
    public static void WriteTable(IReadOnlyCollection<ModelResult> results, string[] devices)
    {
        Table table = new Table().AddColumns("model", "architecture");
        foreach (string device in devices) table.AddColumn(new TableColumn($"worst NMSE, {device}").RightAligned());
        table.AddColumns("greedy", "verdict", "remark");
        foreach (ModelResult result in results)
            table.AddRow([.. new[] { result.Name, result.Architecture }.Concat(result.Devices.Select(Nmse)).Append(Greedy(result)).Select(Markup.Escape), Coloured(result.Verdict), Markup.Escape(Remark(result))]);
        AnsiConsole.Write(table);
    }

    /// <summary>All results as one JSON object.</summary>
    public static void WriteJson(IReadOnlyCollection<ModelResult> results)
    {
        using Stream output = Console.OpenStandardOutput();
        using Utf8JsonWriter writer = new(output, new JsonWriterOptions { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
        writer.WriteStartObject();
        writer.WriteNumber("bound", Suite.Bound);
        foreach (Verdict verdict in Enum.GetValues<Verdict>()) writer.WriteNumber(JsonNamingPolicy.CamelCase.ConvertName(verdict.ToString()), results.Count(result => result.Verdict == verdict));
        writer.WriteStartArray("models");
        foreach (ModelResult result in results)
        {
            writer.WriteStartObject();
            writer.WriteString("name", result.Name);
            writer.WriteString("architecture", result.Architecture);
            writer.WriteString("verdict", Word(result.Verdict));
            writer.WriteString("reason", result.Reason);
            writer.WriteString("otherBuild", result.OtherBuild);
            writer.WriteStartArray("devices");
            foreach (DeviceResult device in result.Devices) Write(writer, device);
            writer.WriteEndArray();
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        writer.WriteEndObject();
        writer.Flush();
        output.WriteByte((byte)'\n');
    }

    private static void Write(Utf8JsonWriter writer, DeviceResult device)
    {
        writer.WriteStartObject();
        writer.WriteString("device", device.Device);
        writer.WriteString("verdict", Word(device.Verdict));
        writer.WriteString("reason", device.Reason);
        writer.WriteString("otherBuild", device.OtherBuild);
        if (device.WorstNmse is { } worst)
        {
            // JSON has no NaN.
            if (double.IsFinite(worst)) writer.WriteNumber("worstNmse", worst);
            else writer.WriteString("worstNmse", worst.ToString(CultureInfo.InvariantCulture));
            writer.WriteNumber("worstPosition", device.WorstPosition!.Value);
            writer.WriteBoolean("greedyEqual", device.GreedyEqual!.Value);
        }

        writer.WriteEndObject();
    }

    private static string Remark(ModelResult result) => string.Join("; ", new[] { result.OtherBuild, result.Reason is { } reason ? Short(reason) : null }.Where(remark => remark is not null));

    // Some refusals name all that is missing.
    private static string Short(string reason) => reason.Length <= ReasonLength ? reason : string.Concat(reason.AsSpan(0, ReasonLength), "...");

    private static string Nmse(DeviceResult device) => device.WorstNmse is { } worst ? Number(worst) : "-";

    private static string Greedy(ModelResult result)
    {
        bool[] known = [.. result.Devices.Where(device => device.GreedyEqual is not null).Select(device => device.GreedyEqual!.Value)];
        return known.Length == 0 ? "-" : known.All(isEqual => isEqual) ? "equal" : "differs";
    }

    private static string Coloured(Verdict verdict) => verdict switch
    {
        Verdict.Pass => "[green]pass[/]",
        Verdict.Refused => "[yellow]refused[/]",
        _ => $"[red]{Word(verdict)}[/]",
    };
}
