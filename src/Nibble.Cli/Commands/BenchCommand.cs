using System.CommandLine;
using System.Globalization;
using Nibble.Cli.Bench;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Llm.Models;

namespace Nibble.Cli.Commands;

/// <summary><c>nibble bench</c>: how fast models run, with the tests, columns and keys of llama-bench.</summary>
internal static class BenchCommand
{
    private const int MaxTokens = 16 << 20;

    /// <summary>The command.</summary>
    public static Command Create()
    {
        Argument<string[]> models = new("model") { Description = "GGUF files, or names from models/manifest.json; without any the default model.", Arity = ArgumentArity.ZeroOrMore };
        Option<string[]> prompts = List("--n-prompt", "-p", "Tokens of the prompt tests; 0 for none.", "512");
        Option<string[]> generated = List("--n-gen", "-n", "Tokens of the generation tests, one by one; 0 for none.", "128");
        Option<string[]> depths = List("--n-depth", "-d", "Tokens that are in the context before a test.", "0");
        Option<string[]> pairs = new("-pg") { Description = "P,N: a test of a prompt of P tokens and N generated ones together; may be repeated." };
        Option<string[]> batches = List("--batch", "-b", "Tokens of a prompt that are evaluated together.", "512");
        batches.Aliases.Add("--batch-size");
        Option<string[]> threads = List("--threads", "-t", "Threads of the CPU; 0 for one a core.", "0");
        Option<string[]> kv = new("--kv") { Description = "Formats of keys and values: f32, f16 (default), q8_0 or q4_0." };
        Option<string[]> keys = new("--cache-type-k", "-ctk") { Description = "As --kv; keys and values have one format." };
        Option<string[]> values = new("--cache-type-v", "-ctv") { Description = "As --kv; keys and values have one format." };
        Option<int> repetitions = new("--repetitions", "-r") { Description = "How often each test is measured.", DefaultValueFactory = _ => 5 };
        repetitions.Validators.Add(result => ModelArguments.CheckRange(result, 1, 10000));
        Option<string> output = new("--output", "-o") { Description = $"Output: {string.Join(", ", BenchOutput.Formats)}.", DefaultValueFactory = _ => "md" };
        Option<string> device = new("--device") { Description = "auto, cpu, reference, opencl[:i] or cuda[:i]; 'nibble devices' lists them.", DefaultValueFactory = _ => "auto" };
        Option<int?> gpuLayers = new("--gpu-layers", "-ngl") { Description = ModelArguments.GpuLayersHelp };
        Option<string?> cpuPath = new("--cpu-path") { Description = "Forces a CPU instruction path; 'nibble devices' lists them." };
        Option<bool> exact = new("--exact") { Description = "Float32 activations, and keys and values in f32 unless --kv says otherwise." };
        Option<bool> cacheWeights = new("--cache-weights") { Description = ModelArguments.CacheWeightsHelp };
        Command command = new("bench", "Measure how fast models run: llama-bench's tests, columns and JSON keys, and the share of the memory's read speed.")
        {
            models, prompts, generated, depths, pairs, batches, threads, kv, keys, values, repetitions, output, device, gpuLayers, cpuPath, cacheWeights, exact,
        };
        command.SetAction((parsed, _) =>
        {
            bool isExact = parsed.GetValue(exact) || parsed.GetValue(device) == "reference";
            List<BenchTest> tests = Tests(
                NumberList.Parse(parsed.GetValue(prompts)!, "--n-prompt", 0, MaxTokens),
                NumberList.Parse(parsed.GetValue(generated)!, "--n-gen", 0, MaxTokens),
                [.. (parsed.GetValue(pairs) ?? []).Select(Pair)],
                NumberList.Parse(parsed.GetValue(depths)!, "--n-depth", 0, MaxTokens),
                KvFormats(parsed.GetValue(kv) ?? [], parsed.GetValue(keys) ?? [], parsed.GetValue(values) ?? [], isExact));
            if (tests.Count == 0) throw new UsageException("no test is left: --n-prompt and --n-gen are 0 and there is no -pg; give one of them tokens.");
            List<int> batchSizes = NumberList.Parse(parsed.GetValue(batches)!, "--batch", 1, 65536);
            ResultOutput<BenchResult> writer = BenchOutput.Create(parsed.GetValue(output)!, tests, batchSizes.Count > 1 || batchSizes[0] != 512);
            DeviceOptions options = new() { CpuPath = parsed.GetValue(cpuPath), IsExact = isExact, CacheWeights = parsed.GetValue(cacheWeights), GpuLayers = parsed.GetValue(gpuLayers) };
            Loads loads = new(
                [.. (parsed.GetValue(models) is { Length: > 0 } named ? named : [null!]).Select(ModelCatalog.Open().Resolve)],
                batchSizes,
                NumberList.Parse(parsed.GetValue(threads)!, "--threads", 0, 1024),
                parsed.GetValue(device)!,
                options);
            using Interruption interruption = new();
            Run(loads, tests, parsed.GetValue(repetitions), writer, interruption.Token);
            return Task.FromResult(0);
        });
        Examples.Attach(
            command,
            "nibble bench model.gguf",
            "nibble bench model.gguf -p 128,512 -n 64 -d 0,4096 --kv q8_0 -t 1,2",
            "nibble bench a.gguf b.gguf -p 0 -n 128 -r 9 -o json",
            "nibble bench model.gguf -p 0 -n 0 -pg 512,128",
            "nibble bench model.gguf --device opencl --gpu-layers 12");
        return command;
    }

    // Every model, with every batch and number of threads.
    private sealed record Loads(IReadOnlyList<string> Paths, IReadOnlyList<int> Batches, IReadOnlyList<int> Threads, string Device, DeviceOptions Options);

    private static Option<string[]> List(string name, string alias, string description, string usual) =>
        new(name, alias) { Description = description + " Lists: 1,2,3; ranges: 128-512+128, 128-4096*2.", DefaultValueFactory = _ => [usual] };

    private static List<BenchTest> Tests(List<int> prompts, List<int> generated, List<(int Prompt, int Generated)> pairs, List<int> depths, List<BlockFormat> kv) =>
    [
        .. from format in kv
           from depth in depths
           from test in prompts.Select(count => (Prompt: count, Generated: 0)).Concat(generated.Select(count => (Prompt: 0, Generated: count))).Concat(pairs)
           where test.Prompt + test.Generated > 0
           select new BenchTest(test.Prompt, test.Generated, depth, format),
    ];

    private static (int Prompt, int Generated) Pair(string text)
    {
        string[] parts = text.Split(',');
        if (parts.Length == 2 && parts.All(part => int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out int count) && count <= MaxTokens))
            return (int.Parse(parts[0], CultureInfo.InvariantCulture), int.Parse(parts[1], CultureInfo.InvariantCulture));
        throw new UsageException($"'{text}' is no pair of tokens (-pg); write P,N with both 0 to {MaxTokens}, such as 512,128.");
    }

    private static List<BlockFormat> KvFormats(string[] kv, string[] keys, string[] values, bool isExact)
    {
        static List<BlockFormat> Parse(string[] names, string option) =>
            [.. names.SelectMany(name => name.Split(',')).Select(name => ModelArguments.KvFormat(name.Trim(), option))];
        List<BlockFormat>[] given = [.. new[] { Parse(kv, "--kv"), Parse(keys, "--cache-type-k"), Parse(values, "--cache-type-v") }.Where(list => list.Count > 0)];
        if (given.Length == 0) return [isExact ? BlockFormats.F32 : BlockFormats.F16];
        if (given.Any(list => !list.SequenceEqual(given[0])))
            throw new UsageException("keys and values have one format; give --kv alone, or the same to --cache-type-k and --cache-type-v.");
        return given[0];
    }

    private static void Run(Loads loads, List<BenchTest> tests, int repetitions, ResultOutput<BenchResult> output, CancellationToken cancellation)
    {
        output.Begin();
        try
        {
            foreach (string path in loads.Paths)
                foreach (int batch in loads.Batches)
                    foreach (int threads in loads.Threads)
                    {
                        GgufFile file = GgufFile.Open(path);
                        using Backend backend = Opened(file, loads, batch, threads, tests, out ModelPlacement? placement);
                        using LanguageModel model = Terminal.Progress("Loading", report =>
                            LanguageModel.Load(file, backend, new ModelOptions { BatchTokens = batch }, new ModelArguments.DirectProgress(report)));
                        ModelArguments.NotePlacement(placement);
                        if (model.WeightCache?.Problem is { } problem) Terminal.Warning(problem);
                        ModelArguments.NoteCache(model.WeightCache);
                        using BenchRunner runner = new(model, placement, loads.Options.IsExact, StatusLine.Show, cancellation);
                        foreach (BenchTest test in tests)
                        {
                            BenchResult result = runner.Run(test, repetitions);
                            StatusLine.Clear();
                            output.Add(result);
                        }

                        if (placement is not { IsWhole: true } || loads.Threads.Count == 1) continue;
                        Terminal.Note($"all layers run on {backend.Name}, which has threads of its own; the other values of --threads ({string.Join(", ", loads.Threads.Skip(1))}) would measure the same and are left out.");
                        break;
                    }
        }
        finally
        {
            StatusLine.Clear();
            output.End();
        }
    }

    // A GPU's memory is planned for the longest test, in the format of keys and values that takes most.
    private static Backend Opened(GgufFile file, Loads loads, int batch, int threads, List<BenchTest> tests, out ModelPlacement? placement)
    {
        try
        {
            return Devices.OpenFor(
                file,
                loads.Device,
                loads.Options with { Threads = threads },
                tests.Max(test => test.Depth + test.Tokens),
                tests.MaxBy(test => test.Kv.BitsPerWeight)!.Kv,
                batch,
                out placement);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }
}
