using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using Nibble.Core.Gguf;
using Nibble.Llm.Models;
using Nibble.Quantize.Calibration;
using Nibble.Quantize.Gradients;
using Nibble.Quantize.Methods;
using Nibble.Quantize.Planning;
using Nibble.Quantize.Quantization;

namespace Nibble.Cli;

/// <summary><c>nibble quantize</c> with <c>--bpw</c>, <c>--size</c> or <c>--recipe</c>: what errors cost, what each candidate costs, the best mix, the file and its recipe.</summary>
/// <param name="from">The model.</param>
/// <param name="to">The file to write.</param>
/// <param name="threads">Threads; 0 for one a core.</param>
/// <param name="cancellation">Stops it; what was measured and made stays for the next run.</param>
internal sealed class PlannedQuantization(string from, string to, int threads, CancellationToken cancellation)
{
    private readonly Stopwatch _watch = Stopwatch.StartNew();

    // Beside the file that is being written, so that a stopped run finds it; deleted when all is done.
    private string CostFolder(DirectoryInfo? statistics) => statistics?.FullName ?? to + ".partial.costs";

    /// <summary>Plans and writes.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="budget">How large the file may become.</param>
    /// <param name="seed">Of the random signs at the logits.</param>
    /// <param name="sensitivity">How it is learned what errors cost; null where that is left open.</param>
    /// <param name="calibration">The text.</param>
    /// <param name="what">Targets of single tensors.</param>
    /// <param name="saved">Where the recipe is written; null for beside the file.</param>
    /// <returns>What was done.</returns>
    public PlanReport Run(ParseResult parsed, SizeBudget budget, ulong seed, string? sensitivity, CalibrationArguments calibration, QuantizeArguments what, FileInfo? saved)
    {
        GradientOptions options = new() { Seed = seed, Threads = threads };
        GptqRounding gptq = new() { IsSorted = true, RefineRounds = QuantizeArguments.BestRefineRounds, Threads = threads };
        using GgufFile file = GgufFile.Open(from);
        budget.CheckLeast(file, what.Overrides(parsed));
        using Model model = calibration.Load(parsed, from, threads, null);
        (IReadOnlyList<int[]> chunks, int chunkTokens, int maxChunks) = calibration.Read(parsed, model, null, cancellation);
        string modelHash = CostSurvey.ModelHash(file), textHash = CostSurvey.TextHash(chunks);
        PlainDecoder? decoder = sensitivity == PlanArguments.Measured ? null : Describe(model, chunks, sensitivity is null);
        if (decoder is null && seed != 0) Terminal.Warning("nothing is random where what errors cost is measured; --seed has no effect.");
        SensitivityOptions? measured = decoder is null ? new SensitivityOptions() : null;
        string folder = CostFolder(calibration.Statistics(parsed));
        CostStore costs = new(folder, measured is null ? CostSurvey.Identity(modelHash, textHash, options) : SensitivitySurvey.Identity(modelHash, textHash, measured, gptq));
        if (decoder is not null) Survey(decoder, file, chunks, options, costs);
        else Survey(model, chunks, measured!, gptq, folder, costs, null);
        MixPlanner planner = new(file, costs, gptq, what.Overrides(parsed));
        IReadOnlyList<MixTensor> tensors = Terminal.Progress("Measuring", report =>
        {
            TimeLeft left = new(report);
            return planner.Measure(new Telling<PlanProgress>(value => left.Report(value.Share, $"candidates of {value.Tensor}")), cancellation);
        });
        Mix mix = planner.Solve(tensors, budget);
        QuantizationPlan plan = planner.Plan(tensors, mix);
        QuantizationResult result = Write(file, plan);
        Dictionary<string, double> losses = tensors.Select((tensor, i) => (tensor.Name, tensor.Candidates[mix.Choices[i]].Loss)).ToDictionary();
        PlanRecipe recipe = new()
        {
            Version = PlanRecipe.CurrentVersion,
            Program = typeof(PlanRecipe).Assembly.GetName().Version!.ToString(3),
            ModelHash = modelHash,
            TextHash = textHash,
            ChunkTokens = chunkTokens,
            MaxChunks = maxChunks,
            Seed = measured is null ? seed : 0,
            RowGroups = options.RowGroups,
            MeasuredChunks = measured?.Chunks,
            MeasuredStride = measured?.Stride,
            Budget = budget.ToString(),
            Loss = mix.Loss,
            FileBytes = result.FileBytes,
            FileHash = CalibrationArguments.Hash(new FileInfo(to)),
            Tensors = [.. plan.Tensors.Select(tensor => new PlanRecipeTensor(
                tensor.Source.Name, tensor.Target.Name, tensor.IsKept ? null : tensor.Method.Name, tensor.ByteLength, losses.TryGetValue(tensor.Source.Name, out double loss) ? loss : null,
                tensor.IsKept ? null : costs.Factors(tensor.Source.Name)))],
        };
        string recipePath = saved?.FullName ?? to + ".recipe.json";
        OutputFile.Write(recipePath, stream => stream.Write(Encoding.UTF8.GetBytes(recipe.ToJson())));
        if (calibration.Statistics(parsed) is null) Directory.Delete(CostFolder(null), recursive: true);
        long overhead = result.FileBytes - mix.Bytes;
        return new PlanReport(file.FileBytes, result, recipe, recipePath, tensors, mix, [.. MixSolver.Curve(tensors).Select(one => (one.Bytes + overhead, one.Loss))], to, _watch.Elapsed);
    }

    /// <summary>Writes the file of a recipe.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="recipeFile">The recipe.</param>
    /// <param name="calibration">The text.</param>
    /// <returns>What was done, and whether the file has the recipe's bytes.</returns>
    public (PlanReport Report, bool IsSame) Run(ParseResult parsed, FileInfo recipeFile, CalibrationArguments calibration)
    {
        PlanRecipe recipe;
        try
        {
            recipe = PlanRecipe.Parse(File.ReadAllText(recipeFile.FullName));
        }
        catch (FormatException error)
        {
            throw new UsageException($"'{recipeFile.FullName}' is no recipe (--recipe): {error.Message}");
        }

        using GgufFile file = GgufFile.Open(from);
        string modelHash = CostSurvey.ModelHash(file);
        if (modelHash != recipe.ModelHash) throw new UsageException($"the recipe is for a model with SHA-256 {recipe.ModelHash}; that of '{from}' is {modelHash}.");
        using Model model = calibration.Load(parsed, from, threads, recipe.ChunkTokens);
        (IReadOnlyList<int[]> chunks, _, _) = calibration.Read(parsed, model, (recipe.ChunkTokens, recipe.MaxChunks), cancellation);
        string textHash = CostSurvey.TextHash(chunks);
        if (textHash != recipe.TextHash) throw new UsageException($"the recipe is for a text whose ids have the SHA-256 {recipe.TextHash}; those of --text have {textHash}.");
        GradientOptions options = recipe.Gradients with { Threads = threads };
        GptqRounding gptq = new() { IsSorted = true, RefineRounds = QuantizeArguments.BestRefineRounds, Threads = threads };
        string folder = CostFolder(calibration.Statistics(parsed));
        CostStore costs = new(folder, recipe.Sensitivities is { } how ? SensitivitySurvey.Identity(modelHash, textHash, how, gptq) : CostSurvey.Identity(modelHash, textHash, options));
        QuantizationPlan plan = recipe.Plan(file, costs, threads);
        if (recipe.Sensitivities is { } measured) Survey(model, chunks, measured, gptq, folder, costs, recipe.Tensors.Where(tensor => tensor.Factors is not null).ToDictionary(tensor => tensor.Name, tensor => tensor.Factors!));
        else Survey(Describe(model, chunks, false)!, file, chunks, options, costs);
        QuantizationResult result = Write(file, plan);
        if (calibration.Statistics(parsed) is null) Directory.Delete(CostFolder(null), recursive: true);
        return (new PlanReport(file.FileBytes, result, recipe, recipeFile.FullName, [], null, [], to, _watch.Elapsed), recipe.FileHash is null || recipe.FileHash == CalibrationArguments.Hash(new FileInfo(to)));
    }

    // Null where gradients cannot be computed and that is no error.
    private static PlainDecoder? Describe(Model model, IReadOnlyList<int[]> chunks, bool mayBeMeasured)
    {
        if (PlainDecoder.TryDescribe(model.Language, chunks.Max(chunk => chunk.Length), out PlainDecoder? decoder, out string? refusal)) return decoder;
        if (!mayBeMeasured) throw new QuantizationException($"gradients of this model cannot be computed ({refusal}). Leave out --sensitivity {PlanArguments.Estimated}: what errors of its tensors cost is then measured, or choose formats with --type and --tensor.");
        Terminal.Note($"gradients of this model cannot be computed ({refusal}): what errors cost is measured, a tensor at a time.");
        return null;
    }

    private void Survey(PlainDecoder decoder, GgufFile file, IReadOnlyList<int[]> chunks, GradientOptions options, CostStore costs) => Terminal.Progress("Measuring", report =>
    {
        TimeLeft left = new(report);
        CostSurvey.Run(decoder, file, chunks, options, costs, new Telling<GradientProgress>(value => left.Report(
            value.Share, string.Create(CultureInfo.InvariantCulture, $"{(value.IsBackward ? "gradients" : "states")} of layer {value.Layer}"))), cancellation);
        return 0;
    });

    private void Survey(
        Model model, IReadOnlyList<int[]> chunks, SensitivityOptions options, GptqRounding gptq, string folder, CostStore costs, IReadOnlyDictionary<string, double[]>? known) => Terminal.Progress("Measuring", report =>
    {
        TimeLeft left = new(report);
        SensitivitySurvey.Run(model.Language, chunks, options, gptq, folder, costs, known, new Telling<SensitivityProgress>(value => left.Report(value.Share, value.What)), cancellation);
        return 0;
    });

    private QuantizationResult Write(GgufFile file, QuantizationPlan plan)
    {
        ModelQuantizer quantizer = new(file, plan, null, null) { Threads = threads };
        return Terminal.Progress("Quantizing", report => quantizer.Write(to, new Telling<QuantizationProgress>(value => report(value.Share, value.Tensor)), cancellation));
    }

    /// <summary>Tells with each share how long the rest will take if it goes on like that.</summary>
    private sealed class TimeLeft(Action<double, string> report)
    {
        private readonly Stopwatch _watch = Stopwatch.StartNew();

        // What an earlier run had done takes no time.
        private double _start = -1;

        public void Report(double share, string what)
        {
            if (_start < 0) _start = share;
            double done = share - _start;
            report(share, done > 0.01 ? string.Create(CultureInfo.InvariantCulture, $"{what}, {_watch.Elapsed.TotalSeconds * (1 - share) / done:F0} s left") : what);
        }
    }

    private sealed class Telling<T>(Action<T> tell) : IProgress<T>
    {
        public void Report(T value) => tell(value);
    }
}
