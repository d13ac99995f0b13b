using System.CommandLine;
using System.Globalization;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Llm.Models;

namespace Nibble.Cli.Commands;

/// <summary><c>nibble synth</c>: a model of random weights, for benchmarks.</summary>
internal static class SynthCommand
{
    /// <summary>The command.</summary>
    public static Command Create()
    {
        SyntheticShape usual = new();
        Argument<FileInfo> output = new("out") { Description = "The GGUF file to write; an existing one is replaced." };
        Option<string> type = new("--type") { Description = $"Format of the weights: {string.Join(", ", BlockFormats.All)}.", DefaultValueFactory = _ => BlockFormats.Q4_0.Name };
        Option<string?> outputType = new("--output-type") { Description = "Format of the output matrix; without it that of --type." };
        Option<string?> embeddingType = new("--embedding-type") { Description = "Format of the embeddings; without it that of --type." };
        Option<string> architecture = new("--architecture", "-a") { Description = "Architecture; 'nibble architectures' lists them.", DefaultValueFactory = _ => usual.Architecture };
        Option<int> width = Size("--width", "Values of a token's state.", usual.Width, 1 << 20);
        Option<int> layers = Size("--layers", "Layers.", usual.Layers, 1024);
        Option<int> heads = Size("--heads", "Query heads.", usual.Heads, 1024);
        Option<int> kvHeads = Size("--kv-heads", "Heads of keys and values.", usual.KvHeads, 1024);
        Option<int?> headSize = new("--head-size") { Description = "Values of a head; without it width / heads." };
        headSize.Validators.Add(result => ModelArguments.CheckRange(result, 1, 65536));
        Option<int> feedForward = Size("--ffn", "Hidden width of the networks.", usual.FeedForward, 1 << 20);
        Option<int> vocabulary = new("--vocab") { Description = "Tokens of the vocabulary.", DefaultValueFactory = _ => usual.Vocabulary };
        vocabulary.Validators.Add(result => ModelArguments.CheckRange(result, SyntheticShape.MinVocabulary, 1 << 20));
        Option<int> context = Size("--context", "Positions that the model is for.", usual.Context, 16 << 20);
        Option<bool> tied = new("--tied") { Description = "No output matrix: the embeddings serve as one." };
        Option<string[]> set = new("--set") { Description = "KEY=VALUE: another key that the architecture reads, with or without its name in front; may be repeated." };
        Option<ulong> seed = new("--seed") { Description = "What the weights follow from; the same gives the same bytes.", DefaultValueFactory = _ => 1 };
        Option<int> threads = new("--threads", "-t") { Description = "Threads; 0 for one a core.", DefaultValueFactory = _ => 0 };
        threads.Validators.Add(result => ModelArguments.CheckRange(result, 0, 1024));
        Command command = new("synth", "Write a model of random weights, for benchmarks: any architecture, size and format.")
        {
            output, type, outputType, embeddingType, architecture, width, layers, heads, kvHeads, headSize, feedForward, vocabulary, context, tied, set, seed, threads,
        };
        command.SetAction((parsed, _) =>
        {
            BlockFormat weights = Format(parsed.GetValue(type)!, "--type");
            if (parsed.GetValue(tied) && parsed.GetValue(outputType) is not null) throw new UsageException("--tied leaves out the output matrix; leave out --output-type, or use --embedding-type.");
            SyntheticFormats formats = new(
                weights,
                parsed.GetValue(embeddingType) is { } embedding ? Format(embedding, "--embedding-type") : weights,
                parsed.GetValue(outputType) is { } last ? Format(last, "--output-type") : weights);
            string name = parsed.GetValue(architecture)!;
            if (Architectures.Find(name) is null) throw new UsageException($"there is no architecture '{name}' (--architecture); 'nibble architectures' lists those that run.");
            SyntheticShape shape = new()
            {
                Architecture = name,
                Width = parsed.GetValue(width),
                Layers = parsed.GetValue(layers),
                Heads = parsed.GetValue(heads),
                KvHeads = parsed.GetValue(kvHeads),
                HeadSize = parsed.GetValue(headSize),
                FeedForward = parsed.GetValue(feedForward),
                Vocabulary = parsed.GetValue(vocabulary),
                Context = parsed.GetValue(context),
                IsTied = parsed.GetValue(tied),
                Keys = [.. (parsed.GetValue(set) ?? []).Select(text => Key(text, name))],
            };
            using Interruption interruption = new();
            Write(shape, formats, parsed.GetValue(output)!, parsed.GetValue(seed), parsed.GetValue(threads), interruption.Token);
            return Task.FromResult(0);
        });
        Examples.Attach(
            command,
            "nibble synth 1b-q4_0.gguf",
            "nibble synth 8b-q4_k.gguf --type Q4_K --width 4096 --layers 32 --kv-heads 8 --ffn 14336 --vocab 128256",
            "nibble synth tiny.gguf --type F16 --width 64 --layers 2 --heads 4 --kv-heads 2 --ffn 128 --vocab 512 --seed 7",
            "nibble synth moe.gguf --architecture qwen3moe --ffn 768 --set expert_count=8 --set expert_used_count=2 --set expert_feed_forward_length=768");
        return command;
    }

    private static Option<int> Size(string name, string description, int usual, int highest)
    {
        Option<int> option = new(name) { Description = description, DefaultValueFactory = _ => usual };
        option.Validators.Add(result => ModelArguments.CheckRange(result, 1, highest));
        return option;
    }

    private static void Write(SyntheticShape shape, SyntheticFormats formats, FileInfo file, ulong seed, int threads, CancellationToken cancellation)
    {
        if (Directory.Exists(file.FullName)) throw new UsageException($"'{file.FullName}' is a folder; name a file.");
        SyntheticModel model;
        try
        {
            model = shape.Describe(formats.Weights);
        }
        catch (GgufException error)
        {
            throw new UsageException($"architecture {shape.Architecture} makes no model of this: {error.Reason} (Keys are set with --set KEY=VALUE.)");
        }

        bool isDone = Terminal.Progress($"Writing {file.Name}", report =>
        {
            model.Write(file.FullName, seed, formats, threads, new DirectProgress(report), cancellation);
            return true;
        });
        long parameters = model.Tensors.Sum(tensor => (long)tensor.Columns * tensor.Rows * tensor.Matrices);
        if (isDone) Terminal.Note(string.Create(CultureInfo.InvariantCulture, $"{shape.Name(formats.Weights)}: {parameters / 1e6:F1} million weights, {new FileInfo(file.FullName).Length / 1e6:F1} MB written to {file.FullName}"));
    }

    private static BlockFormat Format(string name, string option) =>
        BlockFormats.Find(name) ?? throw new UsageException($"'{name}' is no format of weights ({option}); use one of {string.Join(", ", BlockFormats.All)}.");

    private static KeyValuePair<string, GgufValue> Key(string text, string architecture)
    {
        int equals = text.IndexOf('=', StringComparison.Ordinal);
        if (equals <= 0 || equals == text.Length - 1) throw new UsageException($"'{text}' is no key and value (--set); write KEY=VALUE, such as attention.sliding_window=1024.");
        string key = text[..equals];
        bool isWhole = key.StartsWith("general.", StringComparison.Ordinal) || key.StartsWith("tokenizer.", StringComparison.Ordinal) || key.StartsWith(architecture + ".", StringComparison.Ordinal);
        return new(isWhole ? key : $"{architecture}.{key}", Value(text[(equals + 1)..]));
    }

    // A whole number, a number, true or false, numbers separated by commas, or a text.
    private static GgufValue Value(string text)
    {
        if (bool.TryParse(text, out bool flag)) return flag;
        if (uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out uint whole)) return whole;
        if (float.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out float number)) return number;
        string[] parts = text.Split(',');
        uint[] numbers = new uint[parts.Length];
        for (int i = 0; i < parts.Length; i++)
            if (!uint.TryParse(parts[i], NumberStyles.None, CultureInfo.InvariantCulture, out numbers[i])) return text;
        return GgufValue.Array(numbers);
    }

    private sealed class DirectProgress(Action<double, string> report) : IProgress<double>
    {
        public void Report(double value) => report(value, string.Empty);
    }
}
