using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Quantize.Calibration;
using Nibble.Quantize.Quantization;
using Spectre.Console;

namespace Nibble.Cli.Commands;

/// <summary><c>nibble quantize</c>: a model with its weights in fewer bits.</summary>
internal static class QuantizeCommand
{
    /// <summary>The command.</summary>
    public static Command Create()
    {
        Argument<FileInfo> input = new("in") { Description = "The GGUF file to read; its weights may be of any format." };
        Argument<FileInfo> output = new("out") { Description = "The GGUF file to write; an existing one is replaced when all is done." };
        Option<string> type = new("--type") { Description = $"Type of the file: {string.Join(", ", FileType.All)}. Q3_K, Q4_K and Q5_K are the mixes M.", Required = true };
        Option<FileInfo?> importance = new("--importance") { Description = "Importance matrix (imatrix) of the model: what the columns of its weights meet." };
        Option<bool> pure = new("--pure") { Description = "Every weight in the type's own format; no mix." };
        Option<string[]> tensor = new("--tensor") { Description = "REGEX=FORMAT: a format for tensors in whose names the expression is found; may be repeated, the first that is found counts." };
        Option<string?> search = new("--search") { Description = "best: look longer for blocks of less weighted error; other programs read them as any." };
        search.AcceptOnlyFromAmong("best");
        Option<int> threads = new("--threads", "-t") { Description = "Threads; 0 for one a core.", DefaultValueFactory = _ => 0 };
        threads.Validators.Add(result => ModelArguments.CheckRange(result, 0, 1024));
        Option<bool> json = new("--json") { Description = "Write what was done as JSON." };
        Command command = new("quantize", "Write a model with its weights in fewer bits, as llama-quantize does; a run that was stopped goes on where it was.")
        {
            input, output, type, importance, pure, tensor, search, threads, json,
        };
        command.SetAction((parsed, _) =>
        {
            string from = parsed.GetValue(input)!.FullName, to = parsed.GetValue(output)!.FullName;
            if (Directory.Exists(to)) throw new UsageException($"'{to}' is a folder; name a file.");
            if (Path.GetDirectoryName(to) is { Length: > 0 } folder && !Directory.Exists(folder)) throw new UsageException($"there is no folder '{folder}'; make it first.");
            if (string.Equals(from, to, StringComparison.Ordinal)) throw new UsageException($"'{to}' is the file that is read; name another to write.");
            FileType fileType = FileType.Find(parsed.GetValue(type)!) ?? throw new UsageException($"'{parsed.GetValue(type)}' is no type of file (--type); use one of {string.Join(", ", FileType.All)}.");
            List<(Regex, BlockFormat)> overrides = [.. (parsed.GetValue(tensor) ?? []).Select(Override)];
            using Interruption interruption = new();
            using GgufFile file = GgufFile.Open(from);
            FileInfo? matrix = parsed.GetValue(importance);
            ImportanceMatrix? importances = matrix is null ? null : ImportanceMatrix.Open(matrix.FullName);
            QuantizationPlan plan = QuantizationPlan.Create(file, fileType, parsed.GetValue(pure), importances is not null, overrides);
            WarnOfCodes(plan);
            NoteFallbacks(plan);
            ModelQuantizer quantizer = new(file, plan, importances, matrix?.Name) { Threads = parsed.GetValue(threads), IsBest = parsed.GetValue(search) is not null };
            Stopwatch watch = Stopwatch.StartNew();
            QuantizationResult result = Terminal.Progress("Quantizing", report => quantizer.Write(to, new Reporter(report, watch), interruption.Token));
            if (result.Unweighted.Count > 0) Terminal.Note($"Without importances, since the matrix has none for them: {string.Join(", ", result.Unweighted)}.");
            if (parsed.GetValue(json)) WriteJson(file, result, to, watch.Elapsed);
            else WriteTable(file, result, to, watch.Elapsed);
            return Task.FromResult(0);
        });
        Examples.Attach(
            command,
            "nibble quantize model-bf16.gguf model-q4_k_m.gguf --type Q4_K_M --importance imatrix.gguf",
            "nibble quantize model-bf16.gguf model-q4_0.gguf --type Q4_0 --pure",
            "nibble quantize model-bf16.gguf model-iq4_xs.gguf --type IQ4_XS --importance imatrix.gguf --search best",
            "nibble quantize model-f16.gguf model-mixed.gguf --type Q4_K_S --tensor ffn_down=Q6_K --tensor token_embd=Q8_0");
        return command;
    }

    private static (Regex Pattern, BlockFormat Format) Override(string text)
    {
        int equals = text.LastIndexOf('=');
        if (equals <= 0) throw new UsageException($"'{text}' is no expression and format (--tensor); write REGEX=FORMAT, such as ffn_down=Q6_K.");
        BlockFormat format = BlockFormats.Find(text[(equals + 1)..]) ?? throw new UsageException($"'{text[(equals + 1)..]}' is no format of weights (--tensor); use one of {string.Join(", ", BlockFormats.All)}.");
        try
        {
            return (new Regex(text[..equals], RegexOptions.CultureInvariant | RegexOptions.NonBacktracking), format);
        }
        catch (Exception error) when (error is ArgumentException or NotSupportedException)
        {
            throw new UsageException($"'{text[..equals]}' is no regular expression that can be used (--tensor): {error.Message}");
        }
    }

    private static void WarnOfCodes(QuantizationPlan plan)
    {
        List<PlannedTensor> again = [.. plan.Tensors.Where(tensor => tensor.IsRoundedAgain)];
        if (again.Count > 0)
            Terminal.Warning($"{again.Count} tensors are quantized already ({string.Join(", ", again.Select(tensor => tensor.Source.Format).Distinct())}) and are rounded a second time; the errors add up. A float model gives a better file.");
    }

    private static void NoteFallbacks(QuantizationPlan plan)
    {
        foreach (IGrouping<(int Columns, BlockFormat Wanted, BlockFormat Format), PlannedTensor> group in plan.Tensors.Where(tensor => tensor.IsFallback).GroupBy(tensor => (tensor.Source.Columns, tensor.Wanted, tensor.Format)))
            Terminal.Note($"{group.Count()} tensors have rows of {group.Key.Columns} values, no multiple of the {group.Key.Wanted.BlockValues} of {group.Key.Wanted}: they become {group.Key.Format}, as with llama-quantize.");
    }

    private static void WriteTable(GgufFile file, QuantizationResult result, string path, TimeSpan time)
    {
        Table table = new() { Border = TableBorder.Simple };
        table.AddColumns("format", "tensors", "million weights", "MiB", "bits per weight");
        for (int i = 1; i < 5; i++) table.Columns[i].RightAligned();
        foreach (IGrouping<BlockFormat, PlannedTensor> group in result.Plan.Tensors.GroupBy(tensor => tensor.Format).OrderByDescending(group => group.Sum(tensor => tensor.ByteLength)))
            AddRow(table, group.Key.Name, [.. group]);
        List<PlannedTensor> layers = [.. result.Plan.Tensors.Where(tensor => tensor.Source.Name is not ("token_embd.weight" or "output.weight"))];
        AddRow(table, "without embedding and output", layers);
        AddRow(table, "all", result.Plan.Tensors);
        Terminal.Output.Write(table);
        Terminal.Note(string.Create(
            CultureInfo.InvariantCulture,
            $"{file.FileBytes / 1e6:F1} MB became {result.FileBytes / 1e6:F1} MB in {time.TotalSeconds:F1} s{(result.Resumed > 0 ? $", {result.Resumed} tensors of an earlier run among them" : string.Empty)}: {path}"));
    }

    private static void AddRow(Table table, string name, IReadOnlyCollection<PlannedTensor> tensors)
    {
        long values = tensors.Sum(tensor => tensor.ValueCount), bytes = tensors.Sum(tensor => tensor.ByteLength);
        if (values == 0) return;
        table.AddRow(
            name, tensors.Count.ToString(CultureInfo.InvariantCulture), (values / 1e6).ToString("F3", CultureInfo.InvariantCulture),
            (bytes / 1048576.0).ToString("F2", CultureInfo.InvariantCulture), (8.0 * bytes / values).ToString("F3", CultureInfo.InvariantCulture));
    }

    private static void WriteJson(GgufFile file, QuantizationResult result, string path, TimeSpan time) => JsonOutput.Write(writer =>
    {
        writer.WriteStartObject();
        writer.WriteString("file", path);
        writer.WriteString("type", result.Plan.Type.Name);
        writer.WriteNumber("bytes_before", file.FileBytes);
        writer.WriteNumber("bytes", result.FileBytes);
        writer.WriteNumber("weights", result.Plan.ValueCount);
        writer.WriteNumber("bits_per_weight", result.Plan.BitsPerWeight);
        writer.WriteNumber("resumed_tensors", result.Resumed);
        writer.WriteNumber("seconds", time.TotalSeconds);
        writer.WriteStartArray("without_importances");
        foreach (string name in result.Unweighted) writer.WriteStringValue(name);
        writer.WriteEndArray();
        writer.WriteStartArray("tensors");
        foreach (PlannedTensor tensor in result.Plan.Tensors)
        {
            writer.WriteStartObject();
            writer.WriteString("name", tensor.Source.Name);
            writer.WriteString("from", tensor.Source.Format.Name);
            writer.WriteString("format", tensor.Format.Name);
            if (tensor.IsFallback) writer.WriteString("wanted", tensor.Wanted.Name);
            writer.WriteNumber("bytes", tensor.ByteLength);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        writer.WriteEndObject();
    });

    private sealed class Reporter(Action<double, string> report, Stopwatch watch) : IProgress<QuantizationProgress>
    {
        public void Report(QuantizationProgress value)
        {
            string left = value.Share > 0.01 ? string.Create(CultureInfo.InvariantCulture, $", {watch.Elapsed.TotalSeconds * (1 - value.Share) / value.Share:F0} s left") : string.Empty;
            report(value.Share, value.Tensor + left);
        }
    }
}
