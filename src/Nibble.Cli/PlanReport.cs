using System.Globalization;
using Nibble.Quantize.Planning;
using Nibble.Quantize.Quantization;
using Spectre.Console;

namespace Nibble.Cli;

/// <summary>What a planned run did: each tensor with what its candidates cost, and the curve of sizes and losses.</summary>
/// <param name="BytesBefore">Bytes of the model.</param>
/// <param name="Result">The file.</param>
/// <param name="Recipe">Its recipe.</param>
/// <param name="RecipePath">Where that lies.</param>
/// <param name="Tensors">What was chosen among; empty by a recipe.</param>
/// <param name="Mix">The choice; null by a recipe.</param>
/// <param name="Curve">Bytes of a file and what it is estimated to cost, from the smallest to the largest; empty by a recipe.</param>
/// <param name="Path">The file.</param>
/// <param name="Time">How long it took.</param>
internal sealed record PlanReport(
    long BytesBefore, QuantizationResult Result, PlanRecipe Recipe, string RecipePath, IReadOnlyList<MixTensor> Tensors, Mix? Mix, IReadOnlyList<(long Bytes, double Loss)> Curve, string Path, TimeSpan Time)
{
    private const int CurveRows = 12;

    /// <summary>Writes tables.</summary>
    public void WriteTables()
    {
        if (Mix is not null)
        {
            WriteTensors(Mix);
            WriteCurve();
        }

        Terminal.Note(string.Create(
            CultureInfo.InvariantCulture,
            $"{BytesBefore / 1e6:F1} MB became {Result.FileBytes} bytes, {Result.Plan.BitsPerWeight:F3} bits a weight, in {Time.TotalSeconds:F1} s; the estimated KL divergence is {Recipe.Loss:G4} nats a token{(Recipe.Sensitivities is null ? string.Empty : ", from sensitivities that were measured tensor by tensor")}: {Path}"));
        Terminal.Note($"recipe: {RecipePath}");
    }

    /// <summary>Writes JSON.</summary>
    public void WriteJson() => JsonOutput.Write(writer =>
    {
        writer.WriteStartObject();
        writer.WriteString("file", Path);
        writer.WriteString("recipe", RecipePath);
        writer.WriteNumber("bytes_before", BytesBefore);
        writer.WriteNumber("bytes", Result.FileBytes);
        writer.WriteNumber("bits_per_weight", Result.Plan.BitsPerWeight);
        writer.WriteNumber("estimated_kl", Recipe.Loss);
        writer.WriteString("sensitivity", Recipe.Sensitivities is null ? PlanArguments.Estimated : PlanArguments.Measured);
        writer.WriteNumber("resumed_tensors", Result.Resumed);
        writer.WriteNumber("seconds", Time.TotalSeconds);
        writer.WriteStartArray("tensors");
        foreach (PlanRecipeTensor tensor in Recipe.Tensors)
        {
            writer.WriteStartObject();
            writer.WriteString("name", tensor.Name);
            writer.WriteString("format", tensor.Target);
            if (tensor.Method is not null) writer.WriteString("method", tensor.Method);
            writer.WriteNumber("bytes", tensor.Bytes);
            if (tensor.Loss is { } loss) writer.WriteNumber("loss", loss);
            if (Tensors.FirstOrDefault(one => one.Name == tensor.Name) is { } measured)
            {
                writer.WriteStartArray("candidates");
                foreach (MixCandidate candidate in measured.Candidates)
                {
                    writer.WriteStartObject();
                    writer.WriteString("format", candidate.Name);
                    writer.WriteNumber("bytes", candidate.Bytes);
                    writer.WriteNumber("loss", candidate.Loss);
                    writer.WriteEndObject();
                }

                writer.WriteEndArray();
            }

            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        writer.WriteStartArray("curve");
        foreach ((long bytes, double loss) in Curve)
        {
            writer.WriteStartObject();
            writer.WriteNumber("bytes", bytes);
            writer.WriteNumber("loss", loss);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        writer.WriteEndObject();
    });

    private void WriteTensors(Mix mix)
    {
        string[] formats = [.. Tensors.SelectMany(tensor => tensor.Candidates.Select(candidate => candidate.Name)).Distinct()];
        Table table = new() { Border = TableBorder.Simple, Title = new TableTitle($"micronats a token that a tensor costs ({(Recipe.Sensitivities is null ? PlanArguments.Estimated : PlanArguments.Measured)}), and what it becomes") };
        string[] columns = ["tensor", "becomes", "KiB", .. formats];
        table.AddColumns(columns);
        for (int i = 2; i < table.Columns.Count; i++) table.Columns[i].RightAligned();
        for (int t = 0; t < Tensors.Count; t++)
        {
            MixCandidate chosen = Tensors[t].Candidates[mix.Choices[t]];
            string[] cells = [Tensors[t].Name, chosen.Name, (chosen.Bytes / 1024.0).ToString("F1", CultureInfo.InvariantCulture), .. formats.Select(format => Cell(Tensors[t], format, chosen))];
            table.AddRow(cells);
        }

        Terminal.Output.Write(table);
    }

    private static string Cell(MixTensor tensor, string format, MixCandidate chosen)
    {
        foreach (MixCandidate candidate in tensor.Candidates)
            if (candidate.Name == format) return (candidate.Loss * 1e6).ToString("F2", CultureInfo.InvariantCulture) + (candidate == chosen ? "*" : " ");
        return string.Empty;
    }

    // Sizes at equal distances, each with the best mix that is no larger; the file's own among them.
    private void WriteCurve()
    {
        Table table = new() { Border = TableBorder.Simple, Title = new TableTitle("the best files by size") };
        table.AddColumns("bytes", "bits per weight", "estimated KL");
        for (int i = 0; i < 3; i++) table.Columns[i].RightAligned();
        double overhead = Result.FileBytes - Result.Plan.ByteLength;
        long first = Curve[0].Bytes, last = Curve[^1].Bytes;
        HashSet<(long, double)> rows = [(Result.FileBytes, Recipe.Loss)];
        for (int i = 0; i < CurveRows; i++)
            rows.Add(Curve.Last(point => point.Bytes <= first + ((last - first) * i / (CurveRows - 1))));
        foreach ((long bytes, double loss) in rows.Order())
        {
            table.AddRow(
                bytes.ToString(CultureInfo.InvariantCulture) + (bytes == Result.FileBytes ? "*" : " "),
                (8 * (bytes - overhead) / Result.Plan.ValueCount).ToString("F3", CultureInfo.InvariantCulture), loss.ToString("G4", CultureInfo.InvariantCulture));
        }

        Terminal.Output.Write(table);
    }
}
