using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;
using Nibble.Quantize;

namespace Nibble.Cli;

/// <summary>The argument and options of every command that runs a model.</summary>
internal sealed class ModelArguments
{
    /// <summary>What <c>--cache-weights</c> does.</summary>
    public const string CacheWeightsHelp = "Keep the packed weights in MODEL.packed beside the model, and map them from there at later loads.";

    /// <summary>What <c>--gpu-layers</c> does.</summary>
    public const string GpuLayersHelp = "Layers that a GPU takes, the last ones, and after them the output as one more; without it as many as fit into its memory. The CPU runs the others.";

    /// <summary>The model.</summary>
    public Argument<string?> Model { get; } = ModelArgument();

    private readonly Option<string> _device = new("--device") { Description = "auto, cpu, reference, opencl[:i] or cuda[:i]; 'nibble devices' lists them.", DefaultValueFactory = _ => "auto" };
    private readonly Option<int> _threads = new("--threads", "-t") { Description = "Threads of the CPU; 0 for one a core.", DefaultValueFactory = _ => 0 };
    private readonly Option<int> _batch = new("--batch", "-b") { Description = "Tokens of a prompt that are evaluated together.", DefaultValueFactory = _ => 512 };
    private readonly Option<int> _context = new("--context", "-c") { Description = "Positions of the context; 0 for the model's own, at most 8192.", DefaultValueFactory = _ => 0 };
    private readonly Option<string?> _kv = new("--kv") { Description = "Format of keys and values: f32, f16 (default), q8_0 or q4_0." };
    private readonly Option<int?> _gpuLayers = new("--gpu-layers", "-ngl") { Description = GpuLayersHelp };
    private readonly Option<string?> _cpuPath = new("--cpu-path") { Description = "Forces a CPU instruction path; 'nibble devices' lists them." };
    private readonly Option<bool> _cacheWeights = new("--cache-weights") { Description = CacheWeightsHelp };
    private readonly Option<bool> _exact = new("--exact") { Description = "Float32 activations, and keys and values in f32 unless --kv says otherwise, for parity with references." };

    /// <summary>Adds argument and options to a command.</summary>
    /// <param name="command">The command.</param>
    public void AddTo(Command command)
    {
        _threads.Validators.Add(result => CheckRange(result, 0, 1024));
        _batch.Validators.Add(result => CheckRange(result, 1, 65536));
        _context.Validators.Add(result => CheckRange(result, 0, 16 << 20));
        command.Add(Model);
        command.Add(_device);
        command.Add(_threads);
        command.Add(_batch);
        command.Add(_context);
        command.Add(_kv);
        command.Add(_gpuLayers);
        command.Add(_cpuPath);
        command.Add(_cacheWeights);
        command.Add(_exact);
    }

    /// <summary>An argument that names a model, with the default model where it is left out.</summary>
    public static Argument<string?> ModelArgument(string description = "A GGUF file, or a name from models/manifest.json; without it the default model.")
    {
        Argument<string?> argument = new("model") { Description = description, Arity = ArgumentArity.ZeroOrOne };
        argument.Validators.Add(result =>
        {
            // The parser takes what starts as an option and is none for an argument.
            foreach (Token token in result.Tokens)
                if (token.Value.StartsWith('-')) result.AddError($"there is no option '{token.Value}'. (A file of that name is written ./{token.Value}.)");
        });
        return argument;
    }

    /// <summary>The context that was asked for, or null for the model's own.</summary>
    public int? Context(ParseResult parsed) => parsed.GetValue(_context) is var context && context == 0 ? null : context;

    /// <summary>The format of keys and values.</summary>
    public BlockFormat KvFormat(ParseResult parsed)
    {
        bool isExact = parsed.GetValue(_exact) || parsed.GetValue(_device) == "reference";
        string? name = parsed.GetValue(_kv);
        if (name is null) return isExact ? BlockFormats.F32 : BlockFormats.F16;
        return KvFormat(name, "--kv");
    }

    /// <summary>The format of keys and values of a name.</summary>
    /// <param name="name">The name, in any case.</param>
    /// <param name="option">The option, for the message.</param>
    /// <exception cref="UsageException">Keys and values cannot be kept so.</exception>
    public static BlockFormat KvFormat(string name, string option) =>
        BlockFormats.Find(name) is { } format && KvCache.Formats.Contains(format)
            ? format
            : throw new UsageException($"'{name}' is no format for keys and values ({option}); use f32, f16, q8_0 or q4_0.");

    /// <summary>Opens the device and loads the model, with a progress bar; warnings are shown.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="template">A chat template in place of the model's own, or null.</param>
    /// <param name="wrapBackend">Puts a backend between the forward pass and the device, or null.</param>
    /// <param name="context">Positions of the session that will be opened where none were asked for, or null for the model's own.</param>
    public Model Load(ParseResult parsed, string? template = null, Func<Backend, Backend>? wrapBackend = null, int? context = null)
    {
        LoadOptions options = new()
        {
            Device = parsed.GetValue(_device)!,
            DeviceOptions = new DeviceOptions
            {
                Threads = parsed.GetValue(_threads),
                CpuPath = parsed.GetValue(_cpuPath),
                IsExact = parsed.GetValue(_exact),
                GpuLayers = parsed.GetValue(_gpuLayers),
                CacheWeights = parsed.GetValue(_cacheWeights),
            },
            BatchTokens = parsed.GetValue(_batch),
            Context = Context(parsed) ?? context,
            KvFormat = KvFormat(parsed),
            ChatTemplate = template,
            WrapBackend = wrapBackend,
        };
        if (options.Device == "reference" && options.DeviceOptions.Threads > 1)
            Terminal.Warning($"device 'reference' runs on one thread; --threads {options.DeviceOptions.Threads} has no effect.");
        Model model = Terminal.Progress("Loading", report => Nibble.Model.Load(parsed.GetValue(Model), options, new DirectProgress(report)));
        foreach (string warning in model.Warnings)
            Terminal.Warning(warning);
        NotePlacement(model.Placement);
        NoteCache(model.Language.WeightCache);
        return model;
    }

    /// <summary>Bounds the threads of all that is computed beside the model itself, until the result is disposed.</summary>
    /// <param name="parsed">The command line.</param>
    public IDisposable LimitThreads(ParseResult parsed) => Work.Limit(parsed.GetValue(_threads));

    /// <summary>Tells what a GPU has of the model.</summary>
    public static void NotePlacement(ModelPlacement? placement)
    {
        foreach (string line in placement?.Describe("cpu") ?? [])
            Terminal.Note(line);
    }

    /// <summary>Tells what became of the file of packed weights, but for its problem.</summary>
    public static void NoteCache(WeightCacheReport? cache)
    {
        if (cache is null) return;
        string name = Path.GetFileName(cache.Path);
        if (cache.MappedBytes > 0) Terminal.Note(string.Create(CultureInfo.InvariantCulture, $"packed weights: {cache.MappedBytes / 1e6:F1} MB mapped from {name}"));
        if (cache.WrittenBytes > 0) Terminal.Note(string.Create(CultureInfo.InvariantCulture, $"packed weights: {cache.WrittenBytes / 1e6:F1} MB written to {name}; later loads with --cache-weights map them"));
    }

    /// <summary>Loads a second model onto the devices of one that is loaded, and tells what a GPU has of it.</summary>
    /// <param name="loaded">The first model; it outlives the second.</param>
    /// <param name="name">A path, or a name from a manifest.</param>
    public static Model LoadBeside(Model loaded, string name)
    {
        Model model = Terminal.Progress("Loading", report => loaded.LoadBeside(name, new DirectProgress(report)));
        if (model.Placement is not null) Terminal.Note($"beside it {name}:");
        NotePlacement(model.Placement);
        return model;
    }

    /// <summary>A session as the options ask for it.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="model">The model.</param>
    /// <param name="contextShift">Whether a full session drops its oldest part.</param>
    /// <param name="keep">Tokens at the start that it never drops.</param>
    public Session NewSession(ParseResult parsed, Model model, bool contextShift = false, int keep = 0) =>
        model.Language.NewSession(new SessionOptions { Context = Context(parsed), KvFormat = KvFormat(parsed), ContextShift = contextShift, Keep = keep });

    /// <summary>Parses ids separated by commas or spaces.</summary>
    /// <exception cref="UsageException">Something is no id.</exception>
    public static int[] ParseIds(string text, string option)
    {
        List<int> ids = [];
        foreach (string part in text.Split([',', ' ', '\n', '\r', '\t'], StringSplitOptions.RemoveEmptyEntries))
            ids.Add(int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out int id) ? id : throw new UsageException($"'{part}' is no token id ({option}); ids are whole numbers separated by commas."));
        return ids.Count > 0 ? [.. ids] : throw new UsageException($"{option} names no token id.");
    }

    /// <summary>Adds an error where the option's whole number is out of range. One that is no number is the parser's to refuse.</summary>
    public static void CheckRange(OptionResult result, int lowest, int highest)
    {
        foreach (Token token in result.Tokens)
            if (int.TryParse(token.Value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int value) && (value < lowest || value > highest))
                result.AddError($"{result.Option.Name} is {value}; it must be {(highest == int.MaxValue ? $"{lowest} or more" : $"{lowest} to {highest}")}.");
    }

    /// <summary>Progress that is told at once, on the thread that makes it.</summary>
    /// <summary>Tells of loading where it happens.</summary>
    internal sealed class DirectProgress(Action<double, string> report) : IProgress<LoadProgress>
    {
        public void Report(LoadProgress value) => report(value.TotalBytes == 0 ? 1 : (double)value.LoadedBytes / value.TotalBytes, value.Tensor);
    }
}
