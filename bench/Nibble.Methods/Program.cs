using System.Diagnostics;
using System.Globalization;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Cpu;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;
using Nibble.Llm.Tokenizers;
using Nibble.Methods;
using Nibble.Quantize.Calibration;
using Nibble.Quantize.Evaluation;
using Nibble.Quantize.Quantization;

// Every method on the linear layers of one model: how many bits, how much is lost, how long it takes.
if (args.Length < 3)
{
    Console.Error.WriteLine("usage: Nibble.Methods MODEL.gguf CALIBRATION.txt EVALUATION.txt [WORD...]\nPrints a table in Markdown; with words only the lines that hold one of them.");
    return 2;
}

const int Chunk = 512, CalibrationChunks = 256;
string folder = Directory.CreateTempSubdirectory("nibble-methods-").FullName;
try
{
    using GgufFile file = GgufFile.Open(args[0]);
    Tokenizer tokenizer = Tokenizer.FromMetadata(file.Metadata);
    int? bos = tokenizer.Vocabulary.AddBos ? tokenizer.Vocabulary.Special.Bos : null;
    int[] Ids(string path) => tokenizer.Encode(File.ReadAllText(path), parseSpecial: false, addBosEos: false);
    IReadOnlyList<int[]> calibration = CalibrationText.Cut(Ids(args[1]), Chunk, bos).Spread(CalibrationChunks).Chunks;
    int[] evaluation = Ids(args[2]);
    Console.WriteLine("| method | becomes | bits per weight | bytes of the file | KL | same top token % | seconds |");
    Console.WriteLine("|---|---|---|---|---|---|---|");
    foreach (MethodLine line in MethodLine.All)
    {
        if (args.Length > 3 && !args.Skip(3).Any(word => $"{line.Title} {line.Options.Target}".Contains(word, StringComparison.OrdinalIgnoreCase))) continue;
        QuantizationPlan plan;
        try
        {
            plan = QuantizationPlan.Create(file, line.Options);
        }
        catch (QuantizationException error)
        {
            Console.Error.WriteLine($"{line.Title}: {error.Message}");
            continue;
        }

        // A target that most rows do not fit is not what the line says.
        if (plan.Tensors.Any(tensor => tensor.IsFallback))
        {
            Console.Error.WriteLine($"{line.Title}: rows do not fit.");
            continue;
        }

        string path = Path.Combine(folder, "out.gguf");
        Stopwatch watch = Stopwatch.StartNew();
        QuantizationResult made = Make(args[0], file, plan, calibration, path);
        TimeSpan time = watch.Elapsed;
        DivergenceResult result = Measure(args[0], path, evaluation, bos);
        PlannedTensor[] rounded = [.. made.Plan.Tensors.Where(tensor => !tensor.IsKept)];
        double bits = 8.0 * rounded.Sum(tensor => tensor.ByteLength) / rounded.Sum(tensor => tensor.ValueCount);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {line.Title} | `{line.Options.Target}` | {bits:F3} | {made.FileBytes} | {result.Kl:F6} ± {result.KlError:F6} | {100 * result.SameTop:F2} | {time.TotalSeconds:F1} |"));
    }
}
finally
{
    Directory.Delete(folder, recursive: true);
}

return 0;

QuantizationResult Make(string model, GgufFile file, QuantizationPlan plan, IReadOnlyList<int[]> calibration, string path)
{
    if (plan.SeeksOutliers)
    {
        using LanguageModel looked = Load(model, new RecordingBackend(new CpuBackend(new CpuOptions { Exact = true })));
        using CalibrationFeed inputs = new(looked, calibration, new CalibrationOptions { Kinds = OutlierSearch.Needs }, null);
        plan = OutlierSearch.Run(plan, inputs, CancellationToken.None).Plan;
    }

    if (plan.Needs is not { } needs) return new ModelQuantizer(file, plan, null, null).Write(path, null, CancellationToken.None);
    using LanguageModel loaded = Load(model, new RecordingBackend(new CpuBackend(new CpuOptions { Exact = true })));
    using CalibrationFeed feed = new(loaded, calibration, new CalibrationOptions { Kinds = needs, CacheFolder = Path.Combine(folder, "statistics") }, null);
    return new ModelQuantizer(file, plan, null, null) { Statistics = feed }.Write(path, null, CancellationToken.None);
}

DivergenceResult Measure(string baseline, string model, int[] ids, int? bos)
{
    using CpuBackend backend = new(new CpuOptions { Exact = true });
    using LanguageModel first = Load(baseline, backend), second = Load(model, backend);
    SessionOptions options = new() { Context = Chunk, KvFormat = BlockFormats.F32 };
    using Session expected = first.NewSession(options), actual = second.NewSession(options);
    return Divergence.Measure(expected, actual, ids, Chunk, bos, null, CancellationToken.None);
}

static LanguageModel Load(string path, Backend backend) => LanguageModel.Load(GgufFile.Open(path), backend);
