using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Nibble.Core.Gguf;
using Nibble.Quantize;
using Nibble.Quantize.Calibration;
using Nibble.Quantize.Methods;
using Nibble.Quantize.Planning;
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
        QuantizeArguments what = new();
        PlanArguments plans = new();
        CalibrationArguments calibration = new();
        Option<FileInfo?> saved = new("--save-recipe") { Description = "Write what was done as a recipe, which --recipe does again, bit for bit." };
        Option<FileInfo?> importance = new("--importance") { Description = "Importance matrix (imatrix) of the model: what the columns of its weights meet." };
        Option<int> threads = new("--threads", "-t") { Description = "Threads; 0 for one a core.", DefaultValueFactory = _ => 0 };
        threads.Validators.Add(result => ModelArguments.CheckRange(result, 0, 1024));
        Option<bool> json = new("--json") { Description = "Write what was done as JSON." };
        Command command = new("quantize", "Write a model with its weights in fewer bits: in GGUF's formats as llama-quantize does, or by another method. A run that was stopped goes on where it was.") { input, output };
        what.AddTo(command);
        plans.AddTo(command);
        command.Add(importance);
        calibration.AddTo(command);
        command.Add(saved);
        command.Add(threads);
        command.Add(json);
        command.SetAction((parsed, _) =>
        {
            using IDisposable limit = Work.Limit(parsed.GetValue(threads));
            string from = NamedFiles.Input(parsed.GetValue(input), "<in>")!.FullName, to = NamedFiles.Output(parsed.GetValue(output), "<out>")!.FullName;
            if (string.Equals(from, to, StringComparison.Ordinal)) throw new UsageException($"'{to}' is the file that is read; name another to write.");
            FileInfo? matrix = NamedFiles.Input(parsed.GetValue(importance), "--importance"), save = NamedFiles.Output(parsed.GetValue(saved), "--save-recipe");
            if (save?.FullName is { } name && (name == from || name == to || name == matrix?.FullName || calibration.IsText(parsed, name)))
                throw new UsageException($"'{name}' (--save-recipe) is {(name == to ? "the file that is written" : "a file that is read")}; name another.");
            FileInfo? recipeFile = what.RecipeFile(parsed);
            if (plans.IsAsked(parsed, recipeFile))
            {
                SizeBudget? budget = plans.Budget(parsed, recipeFile);
                what.CheckPlanned(parsed, budget is null);
                if (matrix is not null) throw new UsageException("--importance is what columns meet on a text; --bpw, --size and --recipe see more of that themselves. Leave it out.");
                if (budget is null && save is not null) throw new UsageException("--save-recipe would write down what --recipe says already; leave it out.");
                calibration.CheckPlanned(parsed);
                using Interruption stop = new();
                PlannedQuantization planned = new(from, to, parsed.GetValue(threads), stop.Token);
                (PlanReport report, bool isSame) = budget is null
                    ? planned.Run(parsed, recipeFile!, calibration)
                    : (planned.Run(parsed, budget, plans.Seed(parsed), plans.Sensitivity(parsed), calibration, what, save), true);
                if (parsed.GetValue(json)) report.WriteJson();
                else report.WriteTables();
                if (!isSame) Terminal.Error($"the file's bytes are not those that the recipe was written for: another version of Nibble, or a processor with other float arithmetic. '{to}' is whole and as good.");
                return Task.FromResult(isSame ? 0 : Program.Failed);
            }

            plans.CheckUnplanned(parsed);
            QuantizationRecipe? recipe = what.Recipe(parsed);
            PlanOptions? asked = recipe is null ? what.Read(parsed, matrix is not null, calibration.HasText(parsed), parsed.GetValue(threads)) : null;
            string? matrixHash = matrix is null ? null : CalibrationArguments.Hash(matrix);
            if (recipe is not null && recipe.ImportanceSha256 != matrixHash)
                throw new UsageException(recipe.ImportanceSha256 is { } wanted ? $"the recipe was made with an importance matrix of SHA-256 {wanted}; give it with --importance." : "the recipe was made without an importance matrix; leave out --importance.");
            using Interruption interruption = new();
            using GgufFile file = GgufFile.Open(from);
            ImportanceMatrix? importances = matrix is null ? null : ImportanceMatrix.Open(matrix.FullName);
            QuantizationPlan plan = recipe?.Plan(file) ?? QuantizationPlan.Create(file, asked!);
            StatisticKinds? looks = plan.SeeksOutliers ? OutlierSearch.Needs : null;
            RecipeText? cut = calibration.Check(parsed, plan.Needs ?? looks, plan.IsStatic, recipe);
            if (matrix is not null && plan.Tensors.All(tensor => tensor.IsKept || tensor.Target is not BlockTarget || tensor.Method is not RoundToNearest))
                throw new UsageException($"nothing is rounded to nearest into GGUF's blocks, so that --importance '{matrix.Name}' would change nothing; leave it out.");
            WarnOfCodes(plan);
            if (asked is not null) NoteNearest(plan, asked.Method);
            NoteFallbacks(plan);
            if (plan.Type is null) NoteKept(plan);
            Stopwatch watch = Stopwatch.StartNew();
            if (plan.SeeksOutliers) plan = ColumnsApart.Find(parsed, calibration, from, plan, cut!, parsed.GetValue(threads), interruption.Token);
            Reporter reporter = new(watch, plan.Needs is not null);
            CalibrationRun? run = plan.Needs is not null ? calibration.Open(parsed, from, plan, cut!, parsed.GetValue(threads), reporter, interruption.Token) : null;
            QuantizationResult result;
            using (run)
            {
                ModelQuantizer quantizer = new(file, plan, importances, matrix?.Name) { Threads = parsed.GetValue(threads), Statistics = run?.Feed };
                result = Terminal.Progress("Quantizing", report =>
                {
                    reporter.Tell = report;
                    return quantizer.Write(to, reporter, interruption.Token);
                });
            }

            IReadOnlyList<RangeLoss> ranges = plan.IsStatic && run!.HeldOut.Count > 0 ? calibration.CheckRanges(parsed, to, run.HeldOut, parsed.GetValue(threads), interruption.Token) : [];
            if (ranges.Count > 0) NoteRanges(ranges, run!.HeldOut.Count);
            if (result.Nearest.Count > 0) Terminal.Note($"Rounded to nearest, since the text never reached them: {string.Join(", ", result.Nearest)}.");
            if (result.Unweighted.Count > 0) Terminal.Note($"Without importances, since the matrix has none for them: {string.Join(", ", result.Unweighted)}.");
            if (save is not null) OutputFile.Write(save.FullName, QuantizationRecipe.Of(plan, cut, matrixHash).Write);
            if (parsed.GetValue(json)) WriteJson(file, result, ranges, to, watch.Elapsed);
            else WriteTable(file, result, to, watch.Elapsed);
            return Task.FromResult(0);
        });
        Examples.Attach(
            command,
            "nibble quantize model-bf16.gguf model-q4_k_m.gguf --type Q4_K_M --importance imatrix.gguf",
            "nibble quantize model-bf16.gguf model-q4_0.gguf --type Q4_0 --pure",
            "nibble quantize model-bf16.gguf model-iq4_xs.gguf --type IQ4_XS --importance imatrix.gguf --search best",
            "nibble quantize model-f16.gguf model-mixed.gguf --type Q4_K_S --tensor ffn_down=Q6_K --tensor token_embd=Q8_0",
            "nibble quantize model-bf16.gguf model-int4.gguf --method rtn --bits 4 --group 64 --asym --tensor token_embd=Q8_0",
            "nibble quantize model-bf16.gguf model-nf4.gguf --method nf4 --double",
            "nibble quantize model-bf16.gguf model-int8.gguf --method int8 --text calibration.txt --threshold 6",
            "nibble quantize model-bf16.gguf model-w8a8.gguf --method smooth --activations static --range mse --held-out 0.2 --text calibration.txt",
            "nibble quantize model-bf16.gguf model-q4_k_m.gguf --method gptq --type Q4_K_M --act-order --text calibration.txt",
            "nibble quantize model-bf16.gguf model-gptq.gguf --method gptq --bits 4 --group 128 --asym --act-order --text calibration.txt --save-recipe recipe.json",
            "nibble quantize model-bf16.gguf model-again.gguf --recipe recipe.json --text calibration.txt",
            "nibble quantize model-bf16.gguf model-4.5.gguf --bpw 4.5 --text calibration.txt",
            "nibble quantize moe-bf16.gguf moe-4.5.gguf --bpw 4.5 --text calibration.txt --sensitivity measured",
            "nibble quantize model-bf16.gguf model-3gib.gguf --size 3GiB --text calibration.txt --tensor attn_v=Q8_0");
        return command;
    }

    private static void WarnOfCodes(QuantizationPlan plan)
    {
        List<PlannedTensor> again = [.. plan.Tensors.Where(tensor => tensor.IsRoundedAgain)];
        if (again.Count > 0)
            Terminal.Warning($"{again.Count} tensors are quantized already ({string.Join(", ", again.Select(tensor => tensor.Source.Format).Distinct())}) and are rounded a second time; the errors add up. A float model gives a better file.");
    }

    private static void NoteFallbacks(QuantizationPlan plan)
    {
        foreach (IGrouping<(int Columns, TensorTarget Wanted, TensorTarget Target), PlannedTensor> group in plan.Tensors.Where(tensor => tensor.IsFallback).GroupBy(tensor => (tensor.Source.Columns, tensor.Wanted, tensor.Target)))
            Terminal.Note($"{group.Count()} tensors have rows of {group.Key.Columns} values, no multiple of the {((BlockTarget)group.Key.Wanted).Format.BlockValues} of {group.Key.Wanted}: they become {group.Key.Target}, as with llama-quantize.");
    }

    private static void NoteNearest(QuantizationPlan plan, RoundingMethod method)
    {
        foreach (IGrouping<TensorTarget, PlannedTensor> group in plan.Tensors.Where(tensor => !tensor.IsKept && tensor.Method.Name != method.Name).GroupBy(tensor => tensor.Target))
            Terminal.Note(group.All(tensor => method.Supports(tensor.Target))
                ? $"By {group.First().Method}, since {method} is for linear layers and the output matrix: {string.Join(", ", group.Select(tensor => tensor.Source.Name))} ({group.Key})."
                : $"By {group.First().Method}, since {method} does not make {group.Key}: {group.Count()} tensors.");
    }

    private static void NoteKept(QuantizationPlan plan)
    {
        string[] kept = [.. plan.Tensors.Where(tensor => tensor.IsKept && tensor.Source.Name is "token_embd.weight" or "output.weight").Select(tensor => $"{tensor.Source.Name} ({tensor.Source.Format})")];
        if (kept.Length > 0) Terminal.Note($"As they are: {string.Join(", ", kept)}, since they stand outside of the layers; --tensor token_embd=Q8_0 and --tensor output=Q6_K make them smaller.");
    }

    private static void NoteRanges(IReadOnlyList<RangeLoss> ranges, int chunks)
    {
        RangeLoss clipped = ranges.MaxBy(loss => loss.ClippedShare)!, worst = ranges.MaxBy(loss => loss.Error)!;
        Terminal.Note(string.Create(
            CultureInfo.InvariantCulture,
            $"on {chunks} held-out chunks the static ranges clip {100.0 * ranges.Sum(loss => loss.Clipped) / ranges.Sum(loss => loss.Values):F4} % of the activations (most, {100 * clipped.ClippedShare:F4} %, of {clipped.Weight}), and rounding them costs {100 * ranges.Average(loss => loss.Error):F3} % of their power (most, {100 * worst.Error:F3} %, of {worst.Weight})"));
    }

    private static void WriteTable(GgufFile file, QuantizationResult result, string path, TimeSpan time)
    {
        Table table = new() { Border = TableBorder.Simple };
        table.AddColumns("becomes", "tensors", "million weights", "MiB", "bits per weight");
        for (int i = 1; i < 5; i++) table.Columns[i].RightAligned();
        foreach (IGrouping<TensorTarget, PlannedTensor> group in result.Plan.Tensors.GroupBy(tensor => tensor.Target).OrderByDescending(group => group.Sum(tensor => tensor.ByteLength)))
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

    private static void WriteJson(GgufFile file, QuantizationResult result, IReadOnlyList<RangeLoss> ranges, string path, TimeSpan time) => JsonOutput.Write(writer =>
    {
        writer.WriteStartObject();
        writer.WriteString("file", path);
        writer.WriteString("type", result.Plan.Type?.Name);
        writer.WriteString("transform", result.Plan.Transform?.Name);
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
            writer.WriteString("format", tensor.Target.Name);
            if (!tensor.IsKept) writer.WriteString("method", tensor.Method.Name);
            if (tensor.IsFallback) writer.WriteString("wanted", tensor.Wanted.Name);
            writer.WriteNumber("bytes", tensor.ByteLength);
            if (tensor.Outliers is { } outliers) writer.WriteNumber("outlier_columns", outliers.Count);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        if (ranges.Count > 0)
        {
            writer.WriteStartArray("ranges_on_held_out");
            foreach (RangeLoss loss in ranges)
            {
                writer.WriteStartObject();
                writer.WriteString("name", loss.Weight);
                writer.WriteNumber("values", loss.Values);
                writer.WriteNumber("clipped", loss.Clipped);
                writer.WriteNumber("error", loss.Error);
                writer.WriteEndObject();
            }

            writer.WriteEndArray();
        }

        writer.WriteEndObject();
    });

    // Where activations are looked at, that counts as half of the work.
    private sealed class Reporter(Stopwatch watch, bool isCalibrating) : IProgress<QuantizationProgress>, IProgress<CalibrationProgress>
    {
        private double _seen, _made;

        public Action<double, string>? Tell { get; set; }

        public void Report(QuantizationProgress value)
        {
            _made = value.Share;
            Report(value.Tensor);
        }

        public void Report(CalibrationProgress value)
        {
            _seen = value.Share;
            Report(string.Create(CultureInfo.InvariantCulture, $"activations of layer {value.Layer}"));
        }

        private void Report(string what)
        {
            double share = isCalibrating ? (_seen + _made) / 2 : _made;
            string left = share > 0.01 ? string.Create(CultureInfo.InvariantCulture, $", {watch.Elapsed.TotalSeconds * (1 - share) / share:F0} s left") : string.Empty;
            Tell?.Invoke(share, what + left);
        }
    }
}
