using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;
using Nibble.Llm.Tokenizers;
using Nibble.Quantize.Evaluation;

namespace Nibble.Cli.Commands;

/// <summary><c>nibble evaluate</c>: how well a model predicts a text, and how far it is from another one.</summary>
internal static class EvaluateCommand
{
    /// <summary>The command.</summary>
    public static Command Create()
    {
        ModelArguments model = new();
        Option<FileInfo> text = new("--text", "-f") { Description = "The text, UTF-8.", Required = true };
        Option<string?> baseline = new("--baseline") { Description = "A model to compare with, of the same vocabulary: KL divergence and the share of equal top tokens, over the whole vocabulary." };
        Option<int> chunk = new("--chunk") { Description = "Ids of a chunk; the second half of each counts.", DefaultValueFactory = _ => 512 };
        Option<string[]> gates = new("--gate") { Description = $"A bound, such as kl<=0.001: exit 1 where it is missed. Metrics: {string.Join(", ", Gate.Metrics)}. May be repeated." };
        Option<bool> json = new("--json") { Description = "Write JSON." };
        Command command = new("evaluate", "Measure perplexity on a text, and the divergence from a baseline.") { text, baseline, chunk, gates, json };
        chunk.Validators.Add(result => ModelArguments.CheckRange(result, 4, 1 << 20));
        model.AddTo(command);
        command.SetAction((parsed, _) =>
        {
            using IDisposable limit = model.LimitThreads(parsed);
            List<Gate> bounds = [.. (parsed.GetValue(gates) ?? []).Select(ParseGate)];
            if (parsed.GetValue(baseline) is null && bounds.Find(gate => gate.NeedsBaseline) is { } lacking)
                throw new UsageException($"gate {lacking} compares with another model; name it with --baseline.");
            FileInfo textFile = NamedFiles.Input(parsed.GetValue(text), "--text")!;
            string content = Utf8Text.Read(textFile);
            using Interruption interruption = new();
            using Model loaded = model.Load(parsed, context: parsed.GetValue(chunk));
            Evaluation result = Run(parsed, model, loaded, parsed.GetValue(baseline), content, parsed.GetValue(chunk), interruption.Token);
            if (parsed.GetValue(json)) EvaluationOutput.WriteJson(result, bounds);
            else EvaluationOutput.Write(result, bounds);
            return Task.FromResult(EvaluationOutput.ReportMisses(result, bounds) ? Program.Failed : 0);
        });
        Examples.Attach(
            command,
            "nibble evaluate --text evaluation.txt",
            "nibble evaluate model.gguf --text evaluation.txt --chunk 2048 --exact --json",
            "nibble evaluate model-q4.gguf --baseline model-f16.gguf --text evaluation.txt --gate \"kl<=0.01\" --gate \"same_top>=0.9\"");
        return command;
    }

    private static Gate ParseGate(string text)
    {
        try
        {
            return Gate.Parse(text);
        }
        catch (FormatException error)
        {
            throw new UsageException($"{error.Message} (--gate)");
        }
    }

    private static Evaluation Run(ParseResult parsed, ModelArguments arguments, Model loaded, string? baselineName, string content, int chunkTokens, CancellationToken cancellation)
    {
        Tokenizer tokenizer = loaded.Tokenizer;
        int[] ids = tokenizer.Encode(content, parseSpecial: false, addBosEos: false);
        int? bos = tokenizer.Vocabulary.AddBos ? tokenizer.Vocabulary.Special.Bos : null;
        int chunks = ids.Length / chunkTokens;
        SessionOptions options = new() { Context = arguments.Context(parsed) ?? chunkTokens, KvFormat = arguments.KvFormat(parsed) };
        using Session session = loaded.Language.NewSession(options);
        Stopwatch watch = new();
        if (baselineName is null)
        {
            watch.Start();
            PerplexityResult perplexity = Terminal.Progress("Evaluating", report => Perplexity.Measure(session, ids, chunkTokens, bos, new ChunkProgress(chunks, report), cancellation));
            return new Evaluation(perplexity, null, watch.Elapsed);
        }

        using Model baseline = ModelArguments.LoadBeside(loaded, baselineName);
        CheckTokenizer(baseline, baselineName, content, ids);
        using Session baselineSession = baseline.Language.NewSession(options);
        watch.Start();
        DivergenceResult divergence = Terminal.Progress("Comparing", report => Divergence.Measure(
            baselineSession, session, ids, chunkTokens, bos, new KlProgress(chunks, report), cancellation));
        return new Evaluation(divergence.Model, divergence, watch.Elapsed);
    }

    private static void CheckTokenizer(Model baseline, string name, string content, int[] ids)
    {
        // A baseline without a tokenizer is given the model's ids.
        if (baseline.TokenizerOrNull is not { } tokenizer) return;
        int[] own = tokenizer.Encode(content, parseSpecial: false, addBosEos: false);
        if (own.AsSpan().SequenceEqual(ids)) return;
        int at = own.AsSpan().CommonPrefixLength(ids);
        throw new UsageException($"the baseline '{name}' cuts the text into other ids than the model ({own.Length} against {ids.Length}; the first difference is at id {at}); only models of one vocabulary can be compared.");
    }

    private sealed class ChunkProgress(int chunks, Action<double, string> report) : IProgress<(int Chunk, double Nll)>
    {
        private double _sum;

        public void Report((int Chunk, double Nll) value)
        {
            _sum += value.Nll;
            report((value.Chunk + 1.0) / chunks, string.Create(CultureInfo.InvariantCulture, $"perplexity {Math.Exp(_sum / (value.Chunk + 1)):F3}"));
        }
    }

    private sealed class KlProgress(int chunks, Action<double, string> report) : IProgress<(int Chunk, double Kl)>
    {
        public void Report((int Chunk, double Kl) value) => report((value.Chunk + 1.0) / chunks, string.Create(CultureInfo.InvariantCulture, $"KL {value.Kl:F6}"));
    }
}
