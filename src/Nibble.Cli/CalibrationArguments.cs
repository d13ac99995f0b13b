using System.CommandLine;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Nibble.Core.Formats;
using Nibble.Llm.Sessions;
using Nibble.Llm.Tokenizers;
using Nibble.Quantize.Calibration;
using Nibble.Quantize.Quantization;

namespace Nibble.Cli;

/// <summary>The options of <c>nibble quantize</c> that say on which text activations are looked at.</summary>
internal sealed class CalibrationArguments
{
    private const double UsualHeldOut = 0.1;

    private readonly Option<FileInfo?> _text = new("--text", "-f") { Description = "Calibration text, UTF-8: what the model will be used for. gptq, awq and smooth need it, int8 to keep columns apart, --bpw and --size, and recipes made with one." };
    private readonly Option<int> _chunk = new("--chunk") { Description = "Ids of a chunk of the text; each is evaluated alone.", DefaultValueFactory = _ => 512 };
    private readonly Option<int> _chunks = new("--chunks") { Description = "Chunks at most, spread over the text; 0 for all.", DefaultValueFactory = _ => 256 };
    private readonly Option<double?> _heldOut = new("--held-out") { Description = "With --activations static: share of the chunks, up to 0.5, on which the ranges are checked and not found; 0.1 where nothing is named." };
    private readonly Option<string> _device = new("--device") { Description = "Device that the model runs on while activations are looked at, as 'nibble devices' lists them.", DefaultValueFactory = _ => "auto" };
    private readonly Option<bool> _exact = new("--exact") { Description = "Look at activations in float32; only a model that is quantized already differs." };
    private readonly Option<DirectoryInfo?> _statistics = new("--statistics") { Description = "A folder that keeps what was measured of activations, for another run on the same model and text; Hessians are large." };

    /// <summary>Adds the options to a command.</summary>
    public void AddTo(Command command)
    {
        _chunk.Validators.Add(result => ModelArguments.CheckRange(result, 4, 1 << 20));
        _heldOut.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<double?>() is { } share && !(share is >= 0 and <= 0.5)) result.AddError(string.Create(CultureInfo.InvariantCulture, $"--held-out is {share}; 0 to 0.5 is possible."));
        });
        _chunks.Validators.Add(result => ModelArguments.CheckRange(result, 0, int.MaxValue));
        command.Add(_text);
        command.Add(_chunk);
        command.Add(_chunks);
        command.Add(_heldOut);
        command.Add(_device);
        command.Add(_exact);
        command.Add(_statistics);
    }

    /// <summary>Checks that there is a text where one is needed, and none where none is.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="needs">What methods need of activations, or null.</param>
    /// <param name="isStatic">Whether ranges of activations are stored.</param>
    /// <param name="recipe">The recipe that is followed, or null.</param>
    /// <returns>What a recipe says of the text, or null where none is needed.</returns>
    /// <exception cref="UsageException">There is none, or one too many, or not the recipe's.</exception>
    public RecipeText? Check(ParseResult parsed, StatisticKinds? needs, bool isStatic, QuantizationRecipe? recipe)
    {
        if (!isStatic && recipe is null) RefuseHeldOut(parsed);
        FileInfo? text = parsed.GetValue(_text);
        if (needs is not null && text is null) throw new UsageException("the method looks at activations; give it a text of what the model will be used for with --text.");
        if (needs is null && text is not null) throw new UsageException($"no tensor is rounded by a method that looks at activations, so that --text '{text.Name}' would change nothing; leave it out, or use --method gptq.");
        if (needs is null && ((Option[])[_chunk, _chunks, _heldOut, _device, _exact, _statistics]).FirstOrDefault(option => PlanArguments.IsGiven(parsed, option)) is { } unused)
            throw new UsageException($"{unused.Name} is about methods that look at activations on a --text, and none is asked for; leave it out.");
        if (text is null) return null;
        CheckText(parsed);
        RecipeText used = new(Hash(text), parsed.GetValue(_chunk), parsed.GetValue(_chunks), isStatic ? parsed.GetValue(_heldOut) ?? UsualHeldOut : 0);
        if (recipe is null) return used;
        if (recipe.Text is not { } wanted) throw new UsageException("the recipe names no text, but a method of it looks at activations; it was changed by hand. Name the text's SHA-256, chunk and chunks in it.");
        foreach (Option option in (Option[])[_chunk, _chunks, _heldOut])
            if (PlanArguments.IsGiven(parsed, option)) throw new UsageException($"--recipe says how the text is cut; leave out {option.Name}.");
        return wanted.Sha256 == used.Sha256 ? wanted : throw new UsageException($"'{text.Name}' (--text) is not the text of the recipe: its SHA-256 is {used.Sha256}, not {wanted.Sha256}.");
    }

    private void RefuseHeldOut(ParseResult parsed)
    {
        if (parsed.GetValue(_heldOut) is not null) throw new UsageException("--held-out is the part of the text that static ranges are checked on; add --activations static, or leave it out.");
    }

    /// <summary>The SHA-256 of a file, as recipes have it.</summary>
    public static string Hash(FileInfo file)
    {
        using FileStream stream = file.OpenRead();
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }

    /// <summary>Checks that the text exists where one is named, and that what is kept has a place.</summary>
    /// <exception cref="UsageException">It does not.</exception>
    public void CheckText(ParseResult parsed)
    {
        NamedFiles.Input(parsed.GetValue(_text), "--text");
        NamedFiles.Folder(parsed.GetValue(_statistics), "--statistics");
    }

    /// <summary>Checks that there is a text to see what errors cost on.</summary>
    /// <exception cref="UsageException">There is none.</exception>
    public void CheckPlanned(ParseResult parsed)
    {
        RefuseHeldOut(parsed);
        if (parsed.GetValue(_text) is null) throw new UsageException("what errors of a tensor cost is seen on a text; give it one of what the model will be used for with --text.");
        CheckText(parsed);
    }

    /// <summary>Loads the model and prepares to look at its activations.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="path">The model.</param>
    /// <param name="plan">What methods look at activations for; its <see cref="QuantizationPlan.Needs"/> is not null, or it <see cref="QuantizationPlan.SeeksOutliers"/>, which comes first.</param>
    /// <param name="cut">How the text is cut: what <see cref="Check"/> gave.</param>
    /// <param name="threads">Threads; 0 for one a core.</param>
    /// <param name="progress">Told of each chunk.</param>
    /// <param name="cancellation">Looked at between layers.</param>
    public CalibrationRun Open(ParseResult parsed, string path, QuantizationPlan plan, RecipeText cut, int threads, IProgress<CalibrationProgress> progress, CancellationToken cancellation)
    {
        string content = Utf8Text.Read(parsed.GetValue(_text)!);
        int chunkTokens = cut.ChunkTokens;
        LoadOptions options = new()
        {
            Device = parsed.GetValue(_device)!,
            DeviceOptions = new DeviceOptions { Threads = threads, IsExact = parsed.GetValue(_exact) },
            BatchTokens = chunkTokens,
            Context = chunkTokens,
            WrapBackend = backend => new RecordingBackend(backend),
        };
        Model model = Terminal.Progress("Loading", report => Model.Load(path, options, null));
        try
        {
            Tokenizer tokenizer = model.Tokenizer;
            int[] ids = tokenizer.Encode(content, parseSpecial: false, addBosEos: false);
            if (cut.HeldOut > 0 && ids.Length / chunkTokens < 2) Terminal.Warning("the text has fewer than two chunks, and none is held out to check the static ranges on; use a longer text or a smaller --chunk.");
            CalibrationText text = CalibrationText.Cut(ids, chunkTokens, tokenizer.Vocabulary.AddBos ? tokenizer.Vocabulary.Special.Bos : null, heldOutShare: ids.Length / chunkTokens < 2 ? 0 : cut.HeldOut).Spread(cut.Chunks);
            CalibrationOptions calibration = new() { Kinds = plan.SeeksOutliers ? OutlierSearch.Needs : plan.Needs!.Value, IncludesOutput = !plan.SeeksOutliers && plan.NeedsOutput, CacheFolder = parsed.GetValue(_statistics)?.FullName };
            WarnOfText(model, text, content, ids, calibration.KvFormat, cancellation);
            if ((long)text.Chunks.Count * chunkTokens < CalibrationText.FewSamples)
                Terminal.Warning($"the text has {text.Chunks.Count * chunkTokens} ids; with fewer than {CalibrationText.FewSamples} a method learns what they are, not what the model does. Use a longer text.");
            return new CalibrationRun(model, new CalibrationFeed(model.Language, text.Chunks, calibration, progress), text.HeldOut);
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <summary>Looks how well the ranges of activations in a new file fit text that they were not made from.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="path">The file.</param>
    /// <param name="chunks">The text.</param>
    /// <param name="threads">Threads; 0 for one a core.</param>
    /// <param name="cancellation">Looked at between layers.</param>
    public IReadOnlyList<RangeLoss> CheckRanges(ParseResult parsed, string path, IReadOnlyList<int[]> chunks, int threads, CancellationToken cancellation)
    {
        // In float32, so that nothing but the ranges is seen, and where ranges are known.
        LoadOptions options = new()
        {
            Device = parsed.GetValue(_device) == "reference" ? "reference" : "cpu",
            DeviceOptions = new DeviceOptions { Threads = threads, IsExact = true },
            BatchTokens = chunks[0].Length,
            Context = chunks[0].Length,
            WrapBackend = backend => new RecordingBackend(backend),
        };
        using Model model = Terminal.Progress("Loading", report => Model.Load(path, options, null));
        return RangeCheck.Run(model.Language, chunks, cancellation);
    }

    /// <summary>Whether a text is named.</summary>
    public bool HasText(ParseResult parsed) => parsed.GetValue(_text) is not null;

    /// <summary>Whether a file is the text.</summary>
    public bool IsText(ParseResult parsed, string path) => parsed.GetValue(_text)?.FullName == path;

    /// <summary>The folder that keeps what was measured, or null.</summary>
    public DirectoryInfo? Statistics(ParseResult parsed) => parsed.GetValue(_statistics);

    /// <summary>Loads a model of which everything is computed in float32, and prepares to look at its activations.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="path">The model.</param>
    /// <param name="threads">Threads; 0 for one a core.</param>
    /// <param name="chunkTokens">Ids of a chunk where a recipe says it, or null.</param>
    public Model Load(ParseResult parsed, string path, int threads, int? chunkTokens)
    {
        if (parsed.GetValue(_exact)) throw new UsageException("what errors cost is computed in float32 anyhow; leave out --exact.");
        int tokens = chunkTokens ?? parsed.GetValue(_chunk);
        LoadOptions options = new()
        {
            Device = parsed.GetValue(_device)!,
            DeviceOptions = new DeviceOptions { Threads = threads, IsExact = true },
            BatchTokens = tokens,
            Context = tokens,
            KvFormat = BlockFormats.F32,
            WrapBackend = backend => new RecordingBackend(backend),
        };
        return Terminal.Progress("Loading", report => Model.Load(path, options, null));
    }

    /// <summary>Reads the text.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="model">The model that will read it.</param>
    /// <param name="recipe">Ids of a chunk and chunks at most, where a recipe says them; else the options do.</param>
    /// <param name="cancellation">Looked at between layers.</param>
    /// <returns>The chunks, and what they were cut by.</returns>
    /// <exception cref="UsageException">There is no text, or an option says what the recipe says.</exception>
    public (IReadOnlyList<int[]> Chunks, int ChunkTokens, int MaxChunks) Read(ParseResult parsed, Model model, (int ChunkTokens, int MaxChunks)? recipe, CancellationToken cancellation)
    {
        if (recipe is not null && (PlanArguments.IsGiven(parsed, _chunk) || PlanArguments.IsGiven(parsed, _chunks))) throw new UsageException("how the text is cut stands in the recipe; leave out --chunk and --chunks.");
        (int chunkTokens, int maxChunks) = recipe ?? (parsed.GetValue(_chunk), parsed.GetValue(_chunks));
        string content = Utf8Text.Read(parsed.GetValue(_text)!);
        int[] ids = model.Tokenizer.Encode(content, parseSpecial: false, addBosEos: false);
        CalibrationText text = CalibrationText.Cut(ids, chunkTokens, model.Tokenizer.Vocabulary.AddBos ? model.Tokenizer.Vocabulary.Special.Bos : null).Spread(maxChunks);
        WarnOfText(model, text, content, ids, BlockFormats.F32, cancellation);
        return (text.Chunks, chunkTokens, maxChunks);
    }

    /// <summary>Tells how well a text suits a model.</summary>
    public static void WarnOfText(Model loaded, CalibrationText text, string content, int[] ids, BlockFormat kvFormat, CancellationToken cancellation)
    {
        using Session session = loaded.Language.NewSession(new SessionOptions { Context = text.Chunks[0].Length, KvFormat = kvFormat });
        TextFit fit = text.Fit(session, Encoding.UTF8.GetByteCount(content), ids.Length, cancellation);
        Terminal.Note(string.Create(CultureInfo.InvariantCulture, $"text: {ids.Length} ids of {fit.BytesPerToken:F2} bytes, {fit.Nll:F2} nats a token, {fit.ShuffledNll:F2} when shuffled"));
        if (fit.Warning is { } warning) Terminal.Warning(warning);
    }
}

/// <summary>A model that is looked at, and what is seen.</summary>
/// <param name="Model">The model.</param>
/// <param name="Feed">Its statistics.</param>
/// <param name="HeldOut">Chunks that they are not from.</param>
internal sealed record CalibrationRun(Model Model, CalibrationFeed Feed, IReadOnlyList<int[]> HeldOut) : IDisposable
{
    /// <inheritdoc/>
    public void Dispose()
    {
        Feed.Dispose();
        Model.Dispose();
    }
}
