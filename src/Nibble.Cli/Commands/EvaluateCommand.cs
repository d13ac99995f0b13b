using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Nibble.Llm.Sessions;
using Nibble.Llm.Tokenizers;
using Nibble.Quantize.Evaluation;

namespace Nibble.Cli.Commands;

/// <summary><c>nibble evaluate</c>: how well a model predicts a text.</summary>
internal static class EvaluateCommand
{
    /// <summary>The command.</summary>
    public static Command Create()
    {
        ModelArguments model = new();
        Option<FileInfo> text = new("--text", "-f") { Description = "The text, UTF-8.", Required = true };
        Option<int> chunk = new("--chunk") { Description = "Ids of a chunk; the second half of each counts.", DefaultValueFactory = _ => 512 };
        Option<bool> json = new("--json") { Description = "Write JSON." };
        Command command = new("evaluate", "Measure perplexity on a text.") { text, chunk, json };
        chunk.Validators.Add(result => ModelArguments.CheckRange(result, 4, 1 << 20));
        model.AddTo(command);
        command.SetAction((parsed, _) =>
        {
            string content = Utf8Text.Read(File.ReadAllBytes(parsed.GetValue(text)!.FullName), parsed.GetValue(text)!.FullName).TrimStart('\uFEFF');
            int chunkTokens = parsed.GetValue(chunk);
            using Interruption interruption = new();
            using Model loaded = model.Load(parsed);
            Tokenizer tokenizer = loaded.Tokenizer;
            int[] ids = tokenizer.Encode(content, parseSpecial: false, addBosEos: false);
            using Session session = loaded.Language.NewSession(new SessionOptions { Context = model.Context(parsed) ?? chunkTokens, KvFormat = model.KvFormat(parsed) });
            int? bos = tokenizer.Vocabulary.AddBos ? tokenizer.Vocabulary.Special.Bos : null;
            int chunks = ids.Length / chunkTokens;
            Stopwatch watch = Stopwatch.StartNew();
            PerplexityResult result = Terminal.Progress("Evaluating", report => Perplexity.Measure(
                session, ids, chunkTokens, bos, new ChunkProgress(chunks, report), interruption.Token));
            double tokensPerSecond = (double)result.ChunkNll.Count * chunkTokens / watch.Elapsed.TotalSeconds;
            if (parsed.GetValue(json)) WriteJson(result, tokensPerSecond);
            else Write(result, tokensPerSecond);
            return Task.FromResult(0);
        });
        Examples.Attach(command, "nibble evaluate --text evaluation.txt", "nibble evaluate model.gguf --text evaluation.txt --chunk 2048 --exact --json");
        return command;
    }

    private static void Write(PerplexityResult result, double tokensPerSecond) => Console.Out.WriteLine(string.Create(
        CultureInfo.InvariantCulture,
        $"perplexity {result.Value:F4} +/- {result.StandardError:F4} ({result.ChunkNll.Count} chunks of {result.ChunkTokens} ids, {result.Counted} predictions, {tokensPerSecond:F1} tokens/s)"));

    private static void WriteJson(PerplexityResult result, double tokensPerSecond) => JsonOutput.Write(writer =>
    {
        writer.WriteStartObject();
        writer.WritePropertyName("perplexity");
        writer.WriteFloat(result.Value);
        writer.WritePropertyName("standard_error");
        writer.WriteFloat(result.StandardError);
        writer.WriteNumber("text_tokens", result.TextTokens);
        writer.WriteNumber("chunk", result.ChunkTokens);
        writer.WriteNumber("chunks", result.ChunkNll.Count);
        writer.WriteNumber("counted", result.Counted);
        writer.WriteStartArray("chunk_nll");
        foreach (double nll in result.ChunkNll)
            writer.WriteFloat(nll);
        writer.WriteEndArray();
        writer.WriteNumber("tokens_per_second", tokensPerSecond);
        writer.WriteEndObject();
    });

    private sealed class ChunkProgress(int chunks, Action<double, string> report) : IProgress<(int Chunk, double Nll)>
    {
        private double _sum;

        public void Report((int Chunk, double Nll) value)
        {
            _sum += value.Nll;
            report((value.Chunk + 1.0) / chunks, string.Create(CultureInfo.InvariantCulture, $"perplexity {Math.Exp(_sum / (value.Chunk + 1)):F3}"));
        }
    }
}
