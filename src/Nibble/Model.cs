using System.Runtime.InteropServices;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Gpu;
using Nibble.Llm.Models;
using Nibble.Llm.Sampling;
using Nibble.Llm.Templates;
using Nibble.Llm.Tokenizers;

namespace Nibble;

/// <summary>How <see cref="Model.Load"/> loads.</summary>
public sealed record LoadOptions
{
    /// <summary>The device's name: <c>auto</c>, or one of <see cref="Devices.All"/>.</summary>
    public string Device { get; init; } = "auto";

    /// <summary>How the device is opened.</summary>
    public DeviceOptions DeviceOptions { get; init; } = new();

    /// <summary>Tokens of a prompt that are evaluated together.</summary>
    public int BatchTokens { get; init; } = 512;

    /// <summary>Positions of the session that a GPU's memory is planned for; null for as many as a session has by itself.</summary>
    public int? Context { get; init; }

    /// <summary>Format of the session's keys and values that a GPU's memory is planned for.</summary>
    public BlockFormat KvFormat { get; init; } = BlockFormats.F16;

    /// <summary>A chat template that replaces the file's own, or null.</summary>
    public string? ChatTemplate { get; init; }

    /// <summary>Puts a backend that records, or checks, between the forward pass and the device; null for none. What it gives is disposed of with the model.</summary>
    public Func<Backend, Backend>? WrapBackend { get; init; }
}

/// <summary>A model ready to use: weights on a device, tokenizer, chat template.</summary>
public sealed class Model : IDisposable
{
    private readonly Tokenizer? _tokenizer;
    private readonly string? _tokenizerProblem;
    private readonly LoadOptions _options;
    private readonly bool _isBackendShared;

    private Model(LanguageModel language, LoadOptions options, ModelPlacement? placement, bool isBackendShared)
    {
        Language = language;
        _options = options;
        _isBackendShared = isBackendShared;
        Placement = placement;
        GgufMetadata metadata = language.File.Metadata;
        List<string> warnings = [];
        try
        {
            _tokenizer = Tokenizer.FromMetadata(metadata);
            warnings.AddRange(_tokenizer.Warnings);
        }
        catch (TokenizerException error)
        {
            _tokenizerProblem = error.Message;
            warnings.Add($"{error.Message} The model runs on token ids only.");
        }

        if (placement is { IsWhole: true } && options.DeviceOptions.Threads != 0) warnings.Add($"all layers run on {language.Backend.Name}; {options.DeviceOptions.Threads} threads of the CPU (--threads) have no effect.");
        if (language.WeightCache?.Problem is { } cacheProblem) warnings.Add(cacheProblem);
        if ((language.Backend is SplitBackend split ? split.Device : language.Backend) is GpuBackend { WidenedWeights: { Count: > 0 } widened } gpu)
            warnings.Add($"device '{gpu.Device.DeviceName}' has no kernel for {widened.Count} weights ({string.Join(", ", widened.Take(3))}{(widened.Count > 3 ? ", ..." : "")}), which were widened to float32 and take more of its memory than of the file.");
        string bos = TextOf(_tokenizer?.Vocabulary.Special.Bos), eos = TextOf(_tokenizer?.Vocabulary.Special.Eos);
        ChatTemplate = options.ChatTemplate is null
            ? ChatTemplate.Create(metadata.FindString("tokenizer.chat_template"), bos, eos)
            : ChatTemplate.Parse(options.ChatTemplate, bos, eos);
        Warnings = warnings;
    }

    /// <summary>The weights and the forward pass.</summary>
    public LanguageModel Language { get; }

    /// <summary>What a GPU has of the model, or null where none was chosen.</summary>
    public ModelPlacement? Placement { get; }

    /// <summary>The tokenizer.</summary>
    /// <exception cref="TokenizerException">The file's tokenizer is missing or not known; the model runs on ids only.</exception>
    public Tokenizer Tokenizer => _tokenizer ?? throw new TokenizerException($"text needs the model's tokenizer, but: {_tokenizerProblem} Ids work without it (run --tokens 1,2,3 --ids).");

    /// <summary>The tokenizer, or null where the model runs on ids only.</summary>
    public Tokenizer? TokenizerOrNull => _tokenizer;

    /// <summary>The chat template; ChatML where the file has none that works, and then it has warnings.</summary>
    public ChatTemplate ChatTemplate { get; }

    /// <summary>What a user should know about the file's tokenizer, about the file of packed weights where one was asked for, and about weights for which a GPU has no kernel.</summary>
    public IReadOnlyList<string> Warnings { get; }

    /// <summary>Loads a model.</summary>
    /// <param name="model">A path, a name from a manifest, or null for the default model.</param>
    /// <param name="options">How.</param>
    /// <param name="progress">Told of each tensor.</param>
    /// <exception cref="ModelNotFoundException">There is no such model, or its file differs from the manifest.</exception>
    /// <exception cref="GgufException">The file cannot be run.</exception>
    /// <exception cref="ArgumentException">The device cannot be used so.</exception>
    /// <exception cref="TemplateException"><see cref="LoadOptions.ChatTemplate"/> is no template.</exception>
    /// <exception cref="InsufficientMemoryException">The device has not enough memory.</exception>
    public static Model Load(string? model = null, LoadOptions? options = null, IProgress<LoadProgress>? progress = null)
    {
        options ??= new LoadOptions();
        string path = ModelCatalog.Open().Resolve(model);
        GgufFile file = GgufFile.Open(path);
        Backend? backend = null;
        LanguageModel? language = null;
        try
        {
            backend = Devices.OpenFor(file, options.Device, options.DeviceOptions, options.Context, options.KvFormat, options.BatchTokens, out ModelPlacement? placement);
            backend = options.WrapBackend?.Invoke(backend) ?? backend;
            language = LanguageModel.Load(file, backend, new ModelOptions { BatchTokens = options.BatchTokens }, progress);
            return new Model(language, options, placement, isBackendShared: false);
        }
        catch
        {
            language?.Dispose();
            backend?.Dispose();
            file.Dispose();
            throw;
        }
    }

    /// <summary>Loads a second model on the devices of this one, which outlives it, with the same options but for the chat template. Of a GPU it gets a placement of its own, planned by the memory that this model and its sessions leave.</summary>
    /// <param name="model">A path, a name from a manifest, or null for the default model.</param>
    /// <param name="progress">Told of each tensor.</param>
    /// <exception cref="ModelNotFoundException">There is no such model, or its file differs from the manifest.</exception>
    /// <exception cref="GgufException">The file cannot be run.</exception>
    /// <exception cref="InsufficientMemoryException">The device has not enough memory.</exception>
    public Model LoadBeside(string? model = null, IProgress<LoadProgress>? progress = null)
    {
        string path = ModelCatalog.Open().Resolve(model);
        GgufFile file = GgufFile.Open(path);
        Backend? own = null;
        LanguageModel? language = null;
        try
        {
            Backend backend = Devices.OpenBeside(file, Language.Backend, _options, out ModelPlacement? placement, out bool isShared);
            if (!isShared) own = backend;
            language = LanguageModel.Load(file, backend, new ModelOptions { BatchTokens = _options.BatchTokens }, progress);
            return new Model(language, _options with { ChatTemplate = null }, placement, isShared);
        }
        catch
        {
            language?.Dispose();
            own?.Dispose();
            file.Dispose();
            throw;
        }
    }

    /// <summary>A sampler chain for this model.</summary>
    /// <param name="options">The settings; the file's <c>general.sampling.*</c> fill those that were not set.</param>
    public SamplerChain NewSampler(SamplingOptions? options = null)
    {
        SamplingOptions own = options?.Clone() ?? new SamplingOptions();
        own.Apply(Language.File.Metadata);
        return new SamplerChain(own, Language.VocabularySize, _tokenizer is null ? null : new TokenizerVocabulary(_tokenizer));
    }

    /// <summary>The ids of a rendered prompt: special tokens only where the template wrote them, and one BOS where the vocabulary asks for it.</summary>
    /// <param name="prompt">The prompt.</param>
    /// <exception cref="TokenizerException">The model runs on ids only.</exception>
    public List<int> Encode(RenderedPrompt prompt)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        List<int> ids = [];
        Tokenizer.Encode(CollectionsMarshal.AsSpan([.. prompt.Segments]), ids);
        // Templates that write the BOS themselves must not get a second one.
        if (Tokenizer.Vocabulary is { AddBos: true, Special.Bos: { } bos } && (ids.Count == 0 || ids[0] != bos)) ids.Insert(0, bos);
        return ids;
    }

    /// <summary>Frees everything. Sessions and chats are disposed of before.</summary>
    public void Dispose()
    {
        Backend backend = Language.Backend;
        Language.Dispose();
        if (!_isBackendShared) backend.Dispose();
    }

    private string TextOf(int? id) => id is { } known && _tokenizer is not null ? _tokenizer.Decode([known], renderSpecial: true) : string.Empty;
}
