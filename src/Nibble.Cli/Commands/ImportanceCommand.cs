using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Nibble.Llm.Tokenizers;
using Nibble.Quantize.Calibration;

namespace Nibble.Cli.Commands;

/// <summary><c>nibble importance</c>: how much each column of each weight matters on a text, as llama.cpp's imatrix.</summary>
internal static class ImportanceCommand
{
    /// <summary>The command.</summary>
    public static Command Create()
    {
        ModelArguments model = new();
        Option<FileInfo> text = new("--text", "-f") { Description = "The calibration text, UTF-8: what the model will be used for.", Required = true };
        Option<FileInfo> output = new("--out", "-o") { Description = "The file: llama.cpp's imatrix in GGUF.", Required = true };
        Option<int> chunk = new("--chunk") { Description = "Ids of a chunk; each is evaluated alone.", DefaultValueFactory = _ => 512 };
        Option<int> chunks = new("--chunks") { Description = "Chunks at most, from the start; 0 for all.", DefaultValueFactory = _ => 0 };
        Option<double> heldOut = new("--held-out") { Description = "Share of the chunks, up to 0.5, that is left out and compared with the rest: whether the text is long enough.", DefaultValueFactory = _ => 0 };
        Option<bool> withOutput = new("--process-output") { Description = "Collect for the output matrix, too." };
        Command command = new("importance", "Measure activations on a calibration text and write an importance matrix.") { text, output, chunk, chunks, heldOut, withOutput };
        chunk.Validators.Add(result => ModelArguments.CheckRange(result, 4, 1 << 20));
        chunks.Validators.Add(result => ModelArguments.CheckRange(result, 0, int.MaxValue));
        model.AddTo(command);
        command.SetAction((parsed, _) =>
        {
            using IDisposable limit = model.LimitThreads(parsed);
            FileInfo textFile = NamedFiles.Input(parsed.GetValue(text), "--text")!;
            if (model.Context(parsed) is not null) throw new UsageException("each chunk is evaluated alone, in a context of its own ids; leave out --context, and use --chunk.");
            string path = NamedFiles.Output(parsed.GetValue(output), "--out")!.FullName, content = Utf8Text.Read(textFile);
            using Interruption interruption = new();
            using Model loaded = model.Load(parsed, context: parsed.GetValue(chunk), wrapBackend: backend => new RecordingBackend(backend));
            if (loaded.Language.File.PartPaths.Contains(path)) throw new UsageException($"--out names the model itself, '{path}'; name another file.");
            Tokenizer tokenizer = loaded.Tokenizer;
            int[] ids = tokenizer.Encode(content, parseSpecial: false, addBosEos: false);
            int chunkTokens = parsed.GetValue(chunk), most = parsed.GetValue(chunks);
            CalibrationText cut = CalibrationText.Cut(ids, chunkTokens, tokenizer.Vocabulary.AddBos ? tokenizer.Vocabulary.Special.Bos : null, most == 0 ? null : most, parsed.GetValue(heldOut));
            CalibrationOptions options = new() { KvFormat = model.KvFormat(parsed), IncludesOutput = parsed.GetValue(withOutput) };
            Stopwatch watch = Stopwatch.StartNew();
            CalibrationArguments.WarnOfText(loaded, cut, content, ids, options.KvFormat, interruption.Token);
            ImportanceMatrix matrix = Collect(loaded, cut.Chunks, options, textFile.Name, "Calibrating", interruption.Token);
            WarnOfCounts(matrix);
            if (cut.HeldOut.Count > 0) CompareHeldOut(matrix, Collect(loaded, cut.HeldOut, options, textFile.Name, "Checking", interruption.Token), cut.HeldOut.Count);
            matrix.Write(path);
            Terminal.Note(string.Create(CultureInfo.InvariantCulture, $"importance of {matrix.Entries.Count} weights on {cut.Chunks.Count} chunks of {chunkTokens} ids written to {path} ({watch.Elapsed.TotalSeconds:F1} s)"));
            return Task.FromResult(0);
        });
        Examples.Attach(
            command,
            "nibble importance --text calibration.txt --out imatrix.gguf",
            "nibble importance model-f16.gguf --text calibration.txt --out imatrix.gguf --chunks 200 --held-out 0.1");
        return command;
    }

    private static ImportanceMatrix Collect(Model loaded, IReadOnlyList<int[]> chunks, CalibrationOptions options, string dataset, string title, CancellationToken cancellation)
    {
        List<ImportanceEntry> entries = [];
        Terminal.Progress(title, report =>
        {
            Calibrator.Run(loaded.Language, chunks, options, layer => entries.AddRange(ImportanceMatrix.EntriesOf(layer)), new Progress(report), cancellation);
            return true;
        });
        return new ImportanceMatrix(entries, [dataset], chunks.Count, chunks[0].Length);
    }

    private static void WarnOfCounts(ImportanceMatrix matrix)
    {
        int few = 0, none = 0;
        float fewest = float.PositiveInfinity;
        foreach (float count in matrix.Entries.SelectMany(entry => entry.Counts.ToArray()))
        {
            if (count < CalibrationText.FewSamples) few++;
            if (count == 0) none++;
            fewest = Math.Min(fewest, count);
        }

        if (few == 0) return;
        Terminal.Warning(string.Create(CultureInfo.InvariantCulture, $"{few} matrices were met by fewer than {CalibrationText.FewSamples} tokens (the fewest: {fewest}), and {none} of them by none; their importance says little. Use a longer text or more chunks (--chunks)."));
    }

    // How far the means of the columns differ between the two parts of the text.
    private static void CompareHeldOut(ImportanceMatrix matrix, ImportanceMatrix heldOut, int chunks)
    {
        List<double> differences = [];
        foreach (ImportanceEntry entry in matrix.Entries)
        {
            if (entry.IsPartial || !heldOut.TryFind(entry.Name, out ImportanceEntry? other) || other.IsPartial) continue;
            float[] means = entry.Means(), others = other.Means();
            for (int i = 0; i < means.Length; i++)
                if (means[i] > 0) differences.Add(Math.Abs(others[i] - means[i]) / means[i]);
        }

        differences.Sort();
        if (differences.Count > 0)
            Terminal.Note(string.Create(CultureInfo.InvariantCulture, $"on {chunks} held-out chunks the importance of half of the columns differs by less than {differences[differences.Count / 2] * 100:F1} %, of 95 % by less than {differences[differences.Count * 95 / 100] * 100:F1} %"));
    }

    private sealed class Progress(Action<double, string> report) : IProgress<CalibrationProgress>
    {
        public void Report(CalibrationProgress value) => report(value.Share, string.Create(CultureInfo.InvariantCulture, $"layer {value.Layer}"));
    }
}
