using System.CommandLine;
using System.Globalization;
using Nibble.Quantize.Calibration;
using Nibble.Quantize.Methods;
using Nibble.Quantize.Quantization;

namespace Nibble.Cli;

/// <summary>The columns that <c>nibble quantize</c> stores apart, found and told.</summary>
internal static class ColumnsApart
{
    /// <summary>Looks for them on the text, and tells how many they are.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="calibration">The text.</param>
    /// <param name="path">The model.</param>
    /// <param name="plan">The plan that seeks them.</param>
    /// <param name="cut">How the text is cut.</param>
    /// <param name="threads">Threads; 0 for one a core.</param>
    /// <param name="cancellation">Looked at between layers.</param>
    /// <returns>The plan that knows them.</returns>
    public static QuantizationPlan Find(ParseResult parsed, CalibrationArguments calibration, string path, QuantizationPlan plan, RecipeText cut, int threads, CancellationToken cancellation)
    {
        Told told = new();
        using CalibrationRun run = calibration.Open(parsed, path, plan, cut, threads, told, cancellation);
        OutlierResult result = Terminal.Progress("Looking at activations", report =>
        {
            told.Tell = report;
            return OutlierSearch.Run(plan, run.Feed, cancellation);
        });
        PlannedTensor[] sought = [.. result.Plan.Tensors.Where(tensor => tensor.Target is Int8Target { Threshold: not null } && !result.Unread.Contains(tensor.Source.Name) && tensor.Source.Matrices == 1)];
        foreach (IGrouping<string, PlannedTensor> layer in sought.GroupBy(tensor => Layer(tensor.Source.Name)))
            Terminal.Note(string.Create(CultureInfo.InvariantCulture, $"columns apart in {layer.Key}: {string.Join("; ", layer.GroupBy(tensor => (tensor.Outliers!.Count, tensor.Source.Columns)).Select(Line))}"));
        long apart = sought.Sum(tensor => (long)tensor.Outliers!.Count), all = sought.Sum(tensor => (long)tensor.Source.Columns);
        if (all > 0) Terminal.Note(string.Create(CultureInfo.InvariantCulture, $"{apart} of {all} columns of {sought.Length} tensors ({100.0 * apart / all:F2} %) are apart, in float16"));
        string[] experts = [.. plan.Tensors.Where(tensor => tensor.SeeksOutliers && tensor.Source.Matrices > 1).Select(tensor => tensor.Source.Name)];
        if (experts.Length > 0) Terminal.Note($"No columns apart, since they hold several matrices: {string.Join(", ", experts)}.");
        string[] unread = [.. result.Unread.Except(experts)];
        if (unread.Length > 0) Terminal.Note($"No columns apart, since they stand outside of the layers or nothing read them on the text: {string.Join(", ", unread)}.");
        return result.Plan;
    }

    private static string Line(IGrouping<(int Apart, int Columns), PlannedTensor> group) =>
        string.Create(CultureInfo.InvariantCulture, $"{group.Key.Apart} of {group.Key.Columns} in {string.Join(", ", group.Select(tensor => Short(tensor.Source.Name)))}");

    // blk.3.attn_q.weight is attn_q of blk.3.
    private static string Layer(string name) => string.Join('.', name.Split('.').Take(2));

    private static string Short(string name)
    {
        string[] words = name.Split('.');
        return words.Length > 3 ? string.Join('.', words[2..^1]) : name;
    }

    private sealed class Told : IProgress<CalibrationProgress>
    {
        public Action<double, string>? Tell { get; set; }

        public void Report(CalibrationProgress value) => Tell?.Invoke(value.Share, string.Create(CultureInfo.InvariantCulture, $"layer {value.Layer}"));
    }
}
