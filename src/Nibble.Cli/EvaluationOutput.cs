using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Nibble.Quantize.Evaluation;

namespace Nibble.Cli;

/// <summary>What <c>nibble evaluate</c> measured.</summary>
/// <param name="Perplexity">The model's perplexity.</param>
/// <param name="Divergence">The comparison with a baseline, or null.</param>
/// <param name="Elapsed">How long the evaluation took, of both models where there are two.</param>
internal sealed record Evaluation(PerplexityResult Perplexity, DivergenceResult? Divergence, TimeSpan Elapsed)
{
    /// <summary>Ids of the text that were evaluated, by each model, in a second.</summary>
    public double TokensPerSecond => (double)Perplexity.ChunkNll.Count * Perplexity.ChunkTokens * (Divergence is null ? 1 : 2) / Elapsed.TotalSeconds;
}

/// <summary>Writes an <see cref="Evaluation"/>.</summary>
internal static class EvaluationOutput
{
    /// <summary>Writes lines for people.</summary>
    public static void Write(Evaluation evaluation, IReadOnlyList<Gate> gates)
    {
        PerplexityResult model = evaluation.Perplexity;
        Line($"perplexity {model.Value:F4} +/- {model.StandardError:F4} ({model.ChunkNll.Count} chunks of {model.ChunkTokens} ids, {model.Counted} predictions, {evaluation.TokensPerSecond:F1} tokens/s, {PeakBytes() / 1e6:F0} MB)");
        if (evaluation.Divergence is { } found)
        {
            Line($"baseline perplexity {found.Baseline.Value:F4} +/- {found.Baseline.StandardError:F4}, ratio {found.PerplexityRatio:F5} +/- {found.PerplexityRatioError:F5}");
            Line($"KL {found.Kl:F6} +/- {found.KlError:F6} nats (median {found.KlMedian:F6}, 99 % {found.Kl99:F6}, highest {found.KlMax:F6})");
            Line($"same top token {found.SameTop * 100:F2} % +/- {found.SameTopError * 100:F2} %");
            Line($"probability of the next token: mean difference {found.DeltaP * 100:F4} %, root mean square {found.DeltaPRms * 100:F4} %");
        }

        foreach (Gate gate in gates)
        {
            double value = gate.ValueOf(model, evaluation.Divergence);
            Line($"gate {gate}: {(gate.Passes(value) ? "kept" : "missed")}, {value:G6}");
        }
    }

    /// <summary>Writes JSON.</summary>
    public static void WriteJson(Evaluation evaluation, IReadOnlyList<Gate> gates) => JsonOutput.Write(writer =>
    {
        PerplexityResult model = evaluation.Perplexity;
        writer.WriteStartObject();
        Number(writer, "perplexity", model.Value);
        Number(writer, "standard_error", model.StandardError);
        writer.WriteNumber("text_tokens", model.TextTokens);
        writer.WriteNumber("chunk", model.ChunkTokens);
        writer.WriteNumber("chunks", model.ChunkNll.Count);
        writer.WriteNumber("counted", model.Counted);
        if (evaluation.Divergence is { } found)
        {
            Number(writer, "baseline_perplexity", found.Baseline.Value);
            Number(writer, "baseline_standard_error", found.Baseline.StandardError);
            Number(writer, "perplexity_ratio", found.PerplexityRatio);
            Number(writer, "perplexity_ratio_standard_error", found.PerplexityRatioError);
            Number(writer, "kl", found.Kl);
            Number(writer, "kl_standard_error", found.KlError);
            Number(writer, "kl_median", found.KlMedian);
            Number(writer, "kl99", found.Kl99);
            Number(writer, "kl_max", found.KlMax);
            Number(writer, "same_top", found.SameTop);
            Number(writer, "same_top_standard_error", found.SameTopError);
            Number(writer, "delta_p", found.DeltaP);
            Number(writer, "delta_p_rms", found.DeltaPRms);
        }

        writer.WriteStartArray("gates");
        foreach (Gate gate in gates)
        {
            double value = gate.ValueOf(model, evaluation.Divergence);
            writer.WriteStartObject();
            writer.WriteString("gate", gate.ToString());
            writer.WriteString("metric", gate.Metric);
            Number(writer, "bound", gate.Bound);
            Number(writer, "value", value);
            writer.WriteBoolean("passed", gate.Passes(value));
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        writer.WriteStartArray("chunk_nll");
        foreach (double nll in model.ChunkNll)
            writer.WriteFloat(nll);
        writer.WriteEndArray();
        Number(writer, "tokens_per_second", evaluation.TokensPerSecond);
        writer.WriteNumber("peak_memory_bytes", PeakBytes());
        writer.WriteEndObject();
    });

    /// <summary>Writes an error line for each gate that was missed.</summary>
    /// <returns>Whether one was.</returns>
    public static bool ReportMisses(Evaluation evaluation, IReadOnlyList<Gate> gates)
    {
        bool isMissed = false;
        foreach (Gate gate in gates)
        {
            double value = gate.ValueOf(evaluation.Perplexity, evaluation.Divergence);
            if (gate.Passes(value)) continue;
            isMissed = true;
            Terminal.Error(string.Create(CultureInfo.InvariantCulture, $"gate {gate} failed: {gate.Metric} is {value:G6}, the bound is {(gate.IsUpper ? "at most" : "at least")} {gate.Bound:G6}."));
        }

        return isMissed;
    }

    private static void Number(Utf8JsonWriter writer, string name, double value)
    {
        writer.WritePropertyName(name);
        writer.WriteFloat(value);
    }

    private static void Line(FormattableString text) => Console.Out.WriteLine(text.ToString(CultureInfo.InvariantCulture));

    private static long PeakBytes()
    {
        using Process process = Process.GetCurrentProcess();
        return process.PeakWorkingSet64;
    }
}
