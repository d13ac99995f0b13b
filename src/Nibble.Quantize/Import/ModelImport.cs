using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Core.Safetensors;
using Nibble.Quantize.Import.Formats;

namespace Nibble.Quantize.Import;

/// <summary>A Hugging Face folder read as a GGUF model: metadata, tokenizer and tensors are checked when it is opened; weights are read while the file is written.</summary>
public sealed class ModelImport : IDisposable
{
    private readonly CheckpointFolder _folder;
    private readonly ModelFamily _family;
    private readonly JsonFields _config;
    private readonly ModelShape _shape;
    private readonly ImportPlan _plan;
    private readonly string _prefix;
    private readonly LayerFormat? _format;

    private ModelImport(CheckpointFolder folder, string name)
    {
        _folder = folder;
        (_family, _config) = ModelFamilies.Of(folder.Config);
        _shape = new ModelShape(_config, _family.Defaults);
        _plan = new ImportPlan(_family.Architecture);
        _prefix = Prefix();
        _format = LayerFormats.Of(folder);
        Name = name;
        AddMetadata();
        // Before a list of tokens is made, whose length the configuration alone says.
        if (_folder.Find(_prefix + "embed_tokens.weight") is { Shape: [var tokens, ..] } && tokens < _shape.Vocabulary) _ = Embedding();
        TokenizerImport.Add(_plan, folder, _shape.Vocabulary);
        AddTensors();
        CheckUnused();
    }

    /// <summary>The value of <c>general.name</c>.</summary>
    public string Name { get; }

    /// <summary>The value of <c>general.architecture</c>.</summary>
    public string Architecture => _plan.Architecture;

    /// <summary>How the checkpoint's weights are read: format and formula.</summary>
    public string Rule => _format?.Rule ?? "float: weights are kept as stored; vectors become float32";

    /// <summary>What a person should know besides.</summary>
    public IReadOnlyList<string> Notes => _plan.Notes;

    /// <summary>Safetensors files of the checkpoint.</summary>
    public int FileCount => _folder.FileCount;

    /// <summary>Bytes of the checkpoint's tensors.</summary>
    public long SourceBytes => _folder.TensorBytes;

    /// <summary>Tensors of the file.</summary>
    public int TensorCount => _plan.TensorCount;

    /// <summary>Bytes of the file's tensors.</summary>
    public long TensorBytes => _plan.TensorBytes;

    /// <summary>Opens a folder and checks everything but the values of weights.</summary>
    /// <param name="path">The folder with <c>config.json</c>, safetensors and tokenizer.</param>
    /// <param name="name">The value of <c>general.name</c>; null for the folder's own name.</param>
    /// <exception cref="ImportException">The checkpoint cannot be imported: the message names file, tensor or field, and what was expected.</exception>
    /// <exception cref="SafetensorsException">A safetensors file cannot be used.</exception>
    /// <exception cref="IOException">A file cannot be read.</exception>
    public static ModelImport Open(string path, string? name = null)
    {
        CheckpointFolder folder = CheckpointFolder.Open(path);
        try
        {
            return new ModelImport(folder, name ?? folder.Name);
        }
        catch
        {
            folder.Dispose();
            throw;
        }
    }

    /// <summary>Writes the GGUF file beside its place and moves it there when it is whole.</summary>
    /// <param name="path">The file; an existing one is replaced.</param>
    /// <param name="progress">Told the share that is written and the tensor; null for nobody.</param>
    /// <param name="cancellation">Ends the work; what was there before stays.</param>
    /// <exception cref="ImportException">The values of a tensor cannot be read by the rule.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public void Write(string path, Action<double, string>? progress = null, CancellationToken cancellation = default) => _plan.Write(path, progress, cancellation);

    /// <summary>Unmaps the checkpoint's files.</summary>
    public void Dispose() => _folder.Dispose();

    // What precedes the names of the language model's tensors.
    private string Prefix()
    {
        foreach (string prefix in (ReadOnlySpan<string>)["model.", "language_model.model.", "model.language_model.", string.Empty])
            if (_folder.Has(prefix + "embed_tokens.weight")) return prefix;
        throw _folder.Missing("model.embed_tokens.weight", "the table of embeddings");
    }

    private void AddMetadata()
    {
        _plan.Writer.Set("general.architecture", _plan.Architecture);
        _plan.Writer.Set("general.type", "model");
        _plan.Writer.Set("general.name", Name);
        string activation = _config.FindText("hidden_activation") ?? _config.FindText("hidden_act") ?? _family.Activations[0];
        if (!_family.Activations.Contains(activation))
            throw _config.Error(_config.Has("hidden_activation") ? "hidden_activation" : "hidden_act", $"GGUF's {_plan.Architecture} takes {_family.Activations[0]} for granted");
        _plan.Set("block_count", (uint)_shape.Layers);
        _plan.Set("context_length", (uint)_shape.Context);
        _plan.Set("embedding_length", (uint)_shape.Width);
        _plan.Set("feed_forward_length", (uint)_shape.FeedForward);
        _plan.Set("attention.head_count", (uint)_shape.Heads);
        _plan.Set("attention.head_count_kv", (uint)_shape.KvHeads);
        _plan.Set("attention.key_length", (uint)_shape.HeadSize);
        _plan.Set("attention.value_length", (uint)_shape.HeadSize);
        _plan.Set("attention.layer_norm_rms_epsilon", (float)_config.Number("rms_norm_eps", _family.NormEpsilon));
        _plan.Set("vocab_size", (uint)_shape.Vocabulary);
        if (_family.Experts is not null)
        {
            _plan.Set("expert_count", (uint)ExpertCount());
            _plan.Set("expert_used_count", (uint)_config.Integer("num_experts_per_tok", 1, ExpertCount()));
        }

        RopeImport.Add(_plan, _family, _config, _shape);
        _family.Keys?.Invoke(_plan, _config, _shape);
    }

    private int ExpertCount() => _config.Has("num_local_experts") ? _config.Integer("num_local_experts", 1, 1024) : _config.Integer("num_experts", 1, 1024);

    private void AddTensors()
    {
        FloatRows embedding = Embedding();
        _plan.AddRows("token_embd.weight", [embedding]);
        if (_format is null) SetFileType(embedding.Format);
        AddNorm(_prefix + "norm.weight", "output_norm.weight", _shape.Width, "hidden_size");
        AddOutput();
        for (int layer = 0; layer < _shape.Layers; layer++)
        {
            string source = $"{_prefix}layers.{layer}.", name = $"blk.{layer}.";
            foreach ((string norm, string normName, bool isOfHead) in LayerNames.Norms(_family))
                AddNorm($"{source}{norm}.weight", $"{name}{normName}.weight", isOfHead ? _shape.HeadSize : _shape.Width, isOfHead ? "head size" : "hidden_size");
            foreach (LayerMatrix matrix in LayerNames.Attention(_family, _shape)) AddMatrix(source, name, matrix);
            if (_family.Experts is { } experts) AddExperts(source, name, experts);
            else foreach (LayerMatrix matrix in LayerNames.Network(_family, _shape)) AddMatrix(source, name, matrix);
        }
    }

    private void AddOutput()
    {
        string head = _prefix.EndsWith("model.", StringComparison.Ordinal) && _prefix != "model." ? _prefix[..^"model.".Length] + "lm_head" : "lm_head";
        if (!_folder.Has(head + ".weight") && _folder.Has("lm_head.weight")) head = "lm_head";
        bool isTied = _family.IsAlwaysTied || _folder.Config.Flag("tie_word_embeddings", _config.Flag("tie_word_embeddings", _family.IsTiedByDefault));
        if (isTied)
        {
            // Some tools write the copy, too.
            _folder.Ignore(name => name == head + ".weight");
            if (_folder.Has(head + ".bias")) AddBias(head + ".bias", "output.bias", _shape.Vocabulary, "vocab_size", null);
            return;
        }

        AddMatrix(string.Empty, string.Empty, new LayerMatrix(head, "output", _shape.Vocabulary, _shape.Width, "vocab_size, hidden_size; 'tie_word_embeddings' is false"));
    }

    private void AddNorm(string source, string name, int columns, string meaning)
    {
        SafetensorsTensor tensor = _folder.Need(source, FloatRows.Types, [columns], meaning);
        bool addsOne = _family.AddsOneToNorms;
        _plan.AddVector(name, columns, () =>
        {
            float[] values = FloatRows.Decode(tensor);
            if (addsOne)
                foreach (ref float value in values.AsSpan()) value = 1 + value;
            return values;
        });
    }

    private void AddMatrix(string source, string name, LayerMatrix matrix)
    {
        int[]? order = matrix.TurnedHeads > 0 ? LayerNames.Interleaved(matrix.TurnedHeads, matrix.Rows) : null;
        AddWeights([source + matrix.Source], $"{name}{matrix.Name}.weight", matrix.Rows, matrix.Columns, matrix.Meaning, order);
        string bias = $"{source}{matrix.Source}.bias";
        if (matrix.NeedsBias || (_folder.Has(bias) && !IsZeroOfQuantized(source + matrix.Source))) AddBias(bias, $"{name}{matrix.Name}.bias", matrix.Rows, matrix.Meaning, order);
    }

    // One matrix, or those of experts, each quantized or not.
    private void AddWeights(string[] sources, string name, int rows, int columns, string meaning, int[]? order = null, bool isStack = false)
    {
        if (_format is not { } format || !format.Covers(_folder, sources[0]))
        {
            foreach (string source in sources) CheckFloat(source, meaning);
            _plan.AddRows(name, [.. sources.Select(source => Float(source + ".weight", rows, columns, meaning))], order, isStack);
            return;
        }

        try
        {
            LayerWeights[] layers = [.. sources.Select(source => format.Read(new LayerRequest(_folder, source, name, rows, columns, meaning)))];
            _plan.AddLayers(layers, _folder.WeightsFile, name, rows, columns, order, isStack);
        }
        catch (ArgumentException error)
        {
            throw new ImportException(_folder.WeightsFile, $"'{sources[0]}' cannot be stored: {error.Message}");
        }
    }

    // Where layers are quantized, one of floats may be a quantized one of which something is missing.
    private void CheckFloat(string source, string meaning)
    {
        if (_format is null) return;
        string marker = source + _format.Marker;
        if (_folder.Find(source + ".weight") is not { } weight) throw _folder.Missing(source + ".weight", $"{meaning}; nor is there '{marker}', which a quantized layer has");
        if (weight.Type is SafetensorsType.U8 or SafetensorsType.I8 or SafetensorsType.I32 or SafetensorsType.F8E4M3)
            throw _folder.Missing(marker, $"'{weight.Name}' is {weight.Type.Name()} {weight.ShapeText}: codes, which mean nothing without it");
    }

    // AutoGPTQ writes biases of 0 where the model has none.
    private bool IsZeroOfQuantized(string source)
    {
        if (_format is null || !_format.Covers(_folder, source) || _folder.Find(source + ".bias") is not { } bias) return false;
        return FloatRows.Decode(bias).All(value => value == 0);
    }

    private void AddBias(string source, string name, int rows, string meaning, int[]? order)
    {
        SafetensorsTensor tensor = _folder.Need(source, FloatRows.Types, [rows], meaning);
        _plan.AddVector(name, rows, () =>
        {
            float[] values = FloatRows.Decode(tensor);
            return order is null ? values : Array.ConvertAll(order, row => values[row]);
        });
    }

    private void AddExperts(string source, string name, ExpertNames experts)
    {
        int count = ExpertCount();
        int hidden = _config.Has("moe_intermediate_size") ? _config.Integer("moe_intermediate_size", 1, 1 << 24) : _shape.FeedForward;
        // llama.cpp's converter has the scores' matrix in float32, whatever it was.
        string router = _folder.Has($"{source}{experts.Router}.weight") ? experts.Router : "mlp.gate";
        SafetensorsTensor scores = _folder.Need($"{source}{router}.weight", FloatRows.Types, [count, _shape.Width], "experts, hidden_size");
        _plan.Add($"{name}ffn_gate_inp.weight", BlockFormats.F32, [_shape.Width, count], stream => stream.Write(System.Runtime.InteropServices.MemoryMarshal.AsBytes(FloatRows.Decode(scores).AsSpan())));

        // transformers 5 has the experts of a layer in two tensors, gate above up.
        if (_folder.Has($"{source}mlp.experts.gate_up_proj"))
        {
            SafetensorsTensor both = _folder.Need($"{source}mlp.experts.gate_up_proj", FloatRows.Types, [count, 2 * hidden, _shape.Width], "experts, 2 expert width, hidden_size");
            SafetensorsTensor down = _folder.Need($"{source}mlp.experts.down_proj", FloatRows.Types, [count, _shape.Width, hidden], "experts, hidden_size, expert width");
            FloatRows[] Part(int skip) => [.. Enumerable.Range(0, count).Select(i => new FloatRows(both, (((long)i * 2) + skip) * hidden, hidden, _shape.Width))];
            _plan.AddRows($"{name}ffn_gate_exps.weight", Part(0), isStack: true);
            _plan.AddRows($"{name}ffn_up_exps.weight", Part(1), isStack: true);
            _plan.AddRows($"{name}ffn_down_exps.weight", [.. Enumerable.Range(0, count).Select(i => new FloatRows(down, (long)i * _shape.Width, _shape.Width, hidden))], isStack: true);
            return;
        }

        void Stack(string part, string to, int rows, int columns, string meaning) =>
            AddWeights([.. Enumerable.Range(0, count).Select(i => $"{source}{experts.Prefix}.{i}.{part}")], $"{name}{to}.weight", rows, columns, meaning, isStack: true);
        Stack(experts.Gate, "ffn_gate_exps", hidden, _shape.Width, "expert width, hidden_size");
        Stack(experts.Up, "ffn_up_exps", hidden, _shape.Width, "expert width, hidden_size");
        Stack(experts.Down, "ffn_down_exps", _shape.Width, hidden, "hidden_size, expert width");
    }

    private FloatRows Embedding() => Float(_prefix + "embed_tokens.weight", _shape.Vocabulary, _shape.Width, "vocab_size, hidden_size");

    private FloatRows Float(string source, int rows, int columns, string meaning) =>
        new(_folder.Need(source, FloatRows.Types, [rows, columns], meaning), 0, rows, columns);

    // ggml's numbers of files that are mostly of one type; none for others.
    private void SetFileType(BlockFormat format)
    {
        uint? number = format == BlockFormats.F32 ? 0u : format == BlockFormats.F16 ? 1u : format == BlockFormats.BF16 ? 32u : null;
        if (number is { } known) _plan.Writer.Set("general.file_type", known);
    }

    // A tensor that nobody asked for may change results: only those that are known not to are passed over.
    private void CheckUnused()
    {
        _folder.Ignore(name => name.EndsWith(".rotary_emb.inv_freq", StringComparison.Ordinal));
        if (!ReferenceEquals(_config, _folder.Config))
        {
            string[] others = [.. _folder.Unused.Select(tensor => tensor.Name).Where(name => !name.StartsWith(_prefix + "layers.", StringComparison.Ordinal))];
            if (others.Length > 0) _plan.Note($"{others.Length} tensors of other parts than the language model are left out, such as '{others[0]}'.");
            _folder.Ignore(others.Contains);
        }

        if (_folder.Unused.FirstOrDefault() is { } tensor)
            throw new ImportException(tensor.FileName, $"tensor '{tensor.Name}' ({tensor.Type.Name()} {tensor.ShapeText}) is not part of a model of type '{_family.ModelTypes[0]}' as Nibble knows it; the model would run wrongly without it.");
    }
}
