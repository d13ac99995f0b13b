using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Core.Memory;
using Nibble.Llm.Models;
using Nibble.Quantize.Calibration;
using Nibble.Quantize.Evaluation;
using Nibble.Quantize.Gradients;
using Nibble.Quantize.Methods;
using Nibble.Quantize.Quantization;

namespace Nibble.Quantize.Planning;

/// <summary>How sensitivities are measured.</summary>
public sealed record SensitivityOptions
{
    /// <summary>Chunks that the divergence is measured on, spread over the text; all where there are fewer.</summary>
    public int Chunks { get; init; } = 8;

    /// <summary>Of how many positions one is looked at, the last of each chunk too.</summary>
    public int Stride { get; init; } = 4;

    /// <summary>Bytes that states between layers may take in memory, and logits as many; above, they lie in temporary files.</summary>
    public long MemoryBytes { get; init; } = 1L << 30;
}

/// <summary>How far measuring sensitivities is.</summary>
/// <param name="Share">0 to 1.</param>
/// <param name="What">What is done now, for people.</param>
public readonly record struct SensitivityProgress(double Share, string What);

/// <summary>
/// Measures what errors of a model's tensors cost by changing one tensor at a time: with the tensor alone in a format of about four bits, the KL divergence from the model itself, in float32. What other formats cost is
/// scaled from there by δ H δᵀ, with H the mean of x xᵀ of what the tensor reads. It works for whatever the forward pass computes, and takes a run through the layers behind it for every tensor.
/// </summary>
public sealed class SensitivitySurvey
{
    private delegate void Runner(Span<float> values, int chunk);

    private const string MeasuredWord = "measured", ShapeWord = "shape";
    private const string EmbeddingName = "token_embd.weight";

    // Changes when the same model, text and options give other costs than before.
    private const int Version = 1;

    // What a row of the table of embeddings that the text does not have counts, beside one for each time that it has it.
    private const double UnseenCount = 0.1;

    private const int MinReferenceBits = 4;

    // Of a tensor that the measured chunks show nothing of, such as experts that none of them reaches: its errors still count, hardly.
    private const double MinFactor = 1e-12;

    private readonly LanguageModel _model;
    private readonly RecordingBackend _recorder;
    private readonly IReadOnlyList<int[]> _chunks;
    private readonly int[] _measured;
    private readonly SensitivityOptions _options;
    private readonly GptqRounding _gptq;
    private readonly CostStore _shapes;
    private readonly CostStore _store;
    private readonly LayerStream _stream;
    private readonly List<int> _cuts = [0];
    private readonly IProgress<SensitivityProgress>? _progress;
    private readonly CancellationToken _cancellation;
    private readonly float[] _values;

    private SensitivitySurvey(
        LanguageModel model, IReadOnlyList<int[]> chunks, SensitivityOptions options, GptqRounding gptq, CostStore shapes, CostStore store, LayerStream stream, IProgress<SensitivityProgress>? progress, CancellationToken cancellation)
    {
        (_model, _chunks, _options, _gptq, _shapes, _store, _stream, _progress, _cancellation) = (model, chunks, options, gptq, shapes, store, stream, progress, cancellation);
        _recorder = model.Backend as RecordingBackend ?? throw new ArgumentException($"the model runs on {model.Backend.Name} without a {nameof(RecordingBackend)}; load it onto one.", nameof(model));
        int count = Math.Min(options.Chunks, chunks.Count);
        _measured = [.. Enumerable.Range(0, count).Select(i => (int)((long)i * chunks.Count / count))];
        while (_cuts[^1] < stream.LayerCount)
            _cuts.Add(stream.NextCut(_cuts[^1] + 1));
        _values = new float[checked(chunks.Max(chunk => chunk.Length) * stream.Width)];
    }

    /// <summary>What costs follow from: the model's bytes, the ids of every chunk, and how they are measured.</summary>
    /// <param name="modelHash">See <see cref="CostSurvey.ModelHash"/>.</param>
    /// <param name="textHash">See <see cref="CostSurvey.TextHash"/>.</param>
    /// <param name="options">How; memory does not count.</param>
    /// <param name="gptq">How tensors are rounded.</param>
    public static string Identity(string modelHash, string textHash, SensitivityOptions options, GptqRounding gptq)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(gptq);
        return Hash(string.Create(CultureInfo.InvariantCulture, $"{Version};{MeasuredWord};{modelHash};{textHash};chunks={options.Chunks};stride={options.Stride};{gptq.Name}"));
    }

    /// <summary>Fills a store, unless it is filled already. A stopped run goes on with what it measured.</summary>
    /// <param name="model">The model, on a <see cref="RecordingBackend"/> that computes in float32.</param>
    /// <param name="chunks">Ids, chunk by chunk; Hessians are summed up over all of them.</param>
    /// <param name="options">How.</param>
    /// <param name="gptq">How tensors are rounded.</param>
    /// <param name="folder">Where the stores of all identities lie.</param>
    /// <param name="store">The store, of <see cref="Identity"/>.</param>
    /// <param name="known">The factors of each tensor's terms where a recipe says them, so that nothing is measured; else null.</param>
    /// <param name="progress">Told of chunks and tensors, or null.</param>
    /// <param name="cancellation">Looked at between layers.</param>
    /// <exception cref="ArgumentException">There are no chunks, or the model does not record.</exception>
    /// <exception cref="CalibrationException">Activations are no finite numbers.</exception>
    /// <exception cref="QuantizationException">A tensor's Hessian cannot be used, or the divergence is no finite number.</exception>
    /// <exception cref="IOException">There is no place for states or costs.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public static void Run(
        LanguageModel model, IReadOnlyList<int[]> chunks, SensitivityOptions options, GptqRounding gptq, string folder, CostStore store, IReadOnlyDictionary<string, double[]>? known,
        IProgress<SensitivityProgress>? progress, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(chunks);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(gptq);
        ArgumentNullException.ThrowIfNull(store);
        if (options.Chunks < 1 || options.Stride < 1) throw new ArgumentOutOfRangeException(nameof(options), $"{options.Chunks} chunks and one of {options.Stride} positions were asked for; both must be 1 or more.");
        if (chunks.Count == 0) throw new ArgumentException("there are no chunks to measure on; use a longer text or smaller chunks.", nameof(chunks));
        if (store.IsComplete) return;
        CostStore shapes = new(folder, Hash($"{ShapeWord};{store.Identity}"));
        using LayerStream stream = new(model, chunks.Max(chunk => chunk.Length), BlockFormats.F32);
        SensitivitySurvey survey = new(model, chunks, options, gptq, shapes, store, stream, progress, cancellation);
        if (!shapes.IsComplete) survey.Collect();
        if (known is null) survey.Measure();
        survey.Finish(known);
        shapes.Delete();
    }

    // Shares of the whole work, about: layers that a chunk runs through.
    private double CollectCost => (double)_chunks.Count * _stream.LayerCount;

    private double MeasureCost => Names().Sum(name => (double)_measured.Length * (_stream.LayerCount - First(name)));

    private static string Hash(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));

    // Tensors that errors of may cost something, in the order of the layers.
    private IEnumerable<string> Names() => _model.File.Weights.All
        .Where(tensor => TensorNames.IsQuantizable(tensor))
        .OrderBy(tensor => LayerOf(tensor.Name)).Select(tensor => tensor.Name);

    private int LayerOf(string tensor) => tensor == EmbeddingName ? -1 : TensorNames.Layer(tensor) is >= 0 and var layer ? layer : _stream.LayerCount;

    // Where the run begins that shows what a change of a tensor does.
    private int First(string tensor) => LayerOf(tensor) is var layer && layer >= _stream.LayerCount ? _stream.LayerCount : _cuts.Last(cut => cut <= Math.Max(0, layer));

    private Span<float> Values(int chunk) => _values.AsSpan(0, _chunks[chunk].Length * _stream.Width);

    // Each tensor's cost up to a factor.
    private void Collect()
    {
        double all = CollectCost + MeasureCost;
        using StateStore states = new(_chunks.Select(chunk => chunk.Length * _stream.Width), _options.MemoryBytes);
        for (int part = 0; part + 1 < _cuts.Count; part++)
        {
            (int first, int end) = (_cuts[part], _cuts[part + 1]);
            using GramCollector collector = new(_model.File);
            for (int c = 0; c < _chunks.Count; c++)
            {
                Span<float> values = Values(c);
                if (first > 0) states.Read(c, values);
                Observed(collector, c, (read, chunk) => _stream.Run(first, end, _chunks[chunk], read, _cancellation));
                states.Write(c, values);
                _progress?.Report(new SensitivityProgress(((first * (double)_chunks.Count) + ((c + 1.0) * (end - first))) / all, $"what layer {first} reads"));
            }

            foreach (TensorCost cost in collector.Costs())
                _shapes.Write(cost);
        }

        CollectOutside(states);
        _shapes.Complete();
    }

    private void Observed(GramCollector collector, int chunk, Runner run)
    {
        try
        {
            _recorder.Observer = collector;
            run(Values(chunk), chunk);
        }
        finally
        {
            _recorder.Observer = null;
        }
    }

    // The output matrix with rows by p (1 - p), and the table of embeddings with rows by how often the text has them.
    private void CollectOutside(StateStore states)
    {
        int vocabulary = _model.VocabularySize;
        double[] spread = new double[vocabulary], counts = new double[vocabulary];
        float[] p = new float[vocabulary];
        using GramCollector collector = new(_model.File);
        for (int c = 0; c < _chunks.Count; c++)
        {
            states.Read(c, Values(c));
            Observed(collector, c, (values, _) => _stream.RunOutput(values, (_, logits) =>
            {
                logits.CopyTo(p);
                RowMath.Softmax(p);
                for (int i = 0; i < p.Length; i++)
                    spread[i] += p[i] * (1 - p[i]);
            }, _cancellation));
            foreach (int id in _chunks[c])
                counts[id]++;
        }

        double mean = spread.Average();
        TensorCost? tied = null;
        foreach (TensorCost cost in collector.Costs([.. spread.Select(sum => mean > 0 ? (float)(sum / mean) : 1)]))
        {
            if (cost.Name == EmbeddingName) tied = cost;
            else _shapes.Write(cost);
        }

        if (_model.File.Weights.Find(EmbeddingName) is not { } table || !TensorNames.IsQuantizable(table.Name, 2)) return;
        float[] identity = new float[table.Columns * table.Columns];
        for (int i = 0; i < table.Columns; i++)
            identity[i * (table.Columns + 1)] = 1;
        double average = counts.Average() + UnseenCount;
        CostTerm looked = new(0, identity, [.. Enumerable.Range(0, table.Rows).Select(row => (float)(((row < vocabulary ? counts[row] : 0) + UnseenCount) / average))]);
        _shapes.Write(new TensorCost(table.Name, table.Rows, table.Columns, tied is null ? [looked] : [.. tied.Terms, looked]));
    }

    private void Measure()
    {
        List<string> names = [.. Names().Where(_shapes.Has)];
        double all = CollectCost + MeasureCost, done = CollectCost;
        Baseline? baseline = null;
        try
        {
            foreach (string name in names)
            {
                _cancellation.ThrowIfCancellationRequested();
                if (Reference(name) is null)
                {
                    baseline ??= new Baseline(this);
                    MeasureTensor(name, baseline);
                }

                done += (double)_measured.Length * (_stream.LayerCount - First(name));
                _progress?.Report(new SensitivityProgress(done / all, name));
            }
        }
        finally
        {
            baseline?.Dispose();
        }
    }

    private static string Key(string word, int term) => string.Create(CultureInfo.InvariantCulture, $"{word}:{term}");

    // What was measured of a tensor already: its format, and the factor of each term.
    private (BlockFormat Format, double[] Factors, double Loss)? Reference(string name)
    {
        foreach (BlockFormat format in References(name))
        {
            List<double> factors = [];
            double loss = 0;
            while (_shapes.Loss(name, format.Name, Key(MeasuredWord, factors.Count)) is { } kl && _shapes.Loss(name, format.Name, Key(ShapeWord, factors.Count)) is { } shape)
            {
                factors.Add(kl / shape);
                loss += kl;
            }

            if (_shapes.Loss(name, format.Name, MeasuredWord) is not null) return (format, [.. factors], loss);
        }

        return null;
    }

    // The formats that a tensor may be measured in: about four bits, then fewer, then whatever there is.
    private IEnumerable<BlockFormat> References(string name)
    {
        IReadOnlyList<BlockFormat> formats = MixPlanner.Formats(_model.File.Weights.Find(name)!);
        return formats.Where(format => 8.0 * format.BlockBytes / format.BlockValues >= MinReferenceBits).Take(1)
            .Concat(formats.Where(format => 8.0 * format.BlockBytes / format.BlockValues < MinReferenceBits).Reverse());
    }

    private void MeasureTensor(string name, Baseline baseline)
    {
        IWeightSource tensor = _model.File.Weights.Find(name)!;
        TensorCost shape = _shapes.Read(name);
        BlockFormat? used = null;
        try
        {
            CostRounding.Prepared prepared = new(_gptq, shape);
            foreach (BlockFormat format in References(name))
            {
                BlockTarget target = new(format);
                double[] losses = new double[shape.Terms.Length];
                using BlockMatrix blocks = new(tensor, format);
                for (int matrix = 0; matrix < tensor.Matrices; matrix++)
                {
                    RoundingTask task = RoundingTask.Of(tensor, matrix, target);
                    RoundedMatrix rounded = prepared.Round(task, _cancellation);
                    blocks.Set(matrix, rounded.Blocks);
                    double[] own = shape.TermLosses(task.Weights, target.Decode(rounded, task));
                    for (int i = 0; i < losses.Length; i++)
                        losses[i] += shape.Matrices[matrix] * own[i];
                }

                used = format;
                // Without an error there is nothing to see; fewer bits may make one.
                if (!losses.All(loss => loss > 0)) continue;
                MeasureTerms(name, blocks, losses, baseline);
                break;
            }
        }
        catch (Exception error) when (error is HessianException or ArgumentException)
        {
            throw new QuantizationException($"tensor '{name}': {error.Message}");
        }

        if (used is not null) _shapes.AddLoss(name, used.Name, MeasuredWord, 0);
    }

    private void MeasureTerms(string name, BlockMatrix blocks, double[] losses, Baseline baseline)
    {
        using Weight weight = _recorder.UploadSubstitute(blocks);
        for (int term = 0; term < losses.Length; term++)
        {
            // Of two terms the first is the output's, the second the table's.
            bool isTable = name == EmbeddingName && term == losses.Length - 1;
            double kl = baseline.Divergence(name == EmbeddingName && !isTable ? _stream.LayerCount : First(name), new WeightSubstitute(weight, !isTable, isTable));
            if (!double.IsFinite(kl)) throw new QuantizationException($"with tensor '{name}' in {blocks.Format} the divergence is {kl}; look for what makes the model overflow.");
            _shapes.AddLoss(name, blocks.Format.Name, Key(ShapeWord, term), losses[term]);
            _shapes.AddLoss(name, blocks.Format.Name, Key(MeasuredWord, term), kl);
        }
    }

    // Costs in nats. What was measured itself needs not be estimated.
    private void Finish(IReadOnlyDictionary<string, double[]>? known)
    {
        string method = new CostRounding(_gptq, _store).Name;
        foreach (string name in Names().Where(_shapes.Has))
        {
            TensorCost shape = _shapes.Read(name);
            (BlockFormat Format, double[] Factors, double Loss)? reference = known is null ? Reference(name) : null;
            double[]? factors = known is null ? reference?.Factors : known.GetValueOrDefault(name);
            // A recipe names what it chose a format for; without one, a tensor that no format changes costs nothing, whatever it becomes.
            if (factors is null && known is not null) continue;
            bool isMeasured = factors is not null && factors.Length == shape.Terms.Length;
            double[] used = [.. shape.Terms.Select((_, i) => isMeasured ? Math.Max(factors![i], MinFactor) : MinFactor)];
            _store.Write(shape.Scaled(used));
            _store.SetFactors(name, used);
            if (isMeasured && reference is { } found) _store.AddLoss(name, found.Format.Name, method, found.Loss);
        }

        _store.Complete();
    }

    /// <summary>The model's own states at every cut but the first, and its logits.</summary>
    private sealed class Baseline : IDisposable
    {
        private readonly SensitivitySurvey _survey;
        private readonly StateStore _states;
        private readonly StateStore _logits;
        private readonly float[] _rows;
        private readonly float[] _expected;

        public Baseline(SensitivitySurvey survey)
        {
            _survey = survey;
            int width = survey._stream.Width, vocabulary = survey._model.VocabularySize, count = survey._measured.Length;
            _states = new StateStore(Enumerable.Range(0, (survey._cuts.Count - 1) * count).Select(i => survey._chunks[survey._measured[i % count]].Length * width), survey._options.MemoryBytes);
            _logits = new StateStore(survey._measured.SelectMany(chunk => Positions(chunk).Select(_ => vocabulary)), survey._options.MemoryBytes);
            _rows = new float[survey._measured.Max(chunk => Positions(chunk).Count()) * width];
            _expected = new float[vocabulary];
            int at = 0;
            for (int i = 0; i < count; i++)
            {
                int chunk = survey._measured[i];
                Span<float> values = survey.Values(chunk);
                for (int part = 0; part + 1 < survey._cuts.Count; part++)
                {
                    survey._stream.Run(survey._cuts[part], survey._cuts[part + 1], survey._chunks[chunk], values, survey._cancellation);
                    _states.Write((part * count) + i, values);
                }

                survey._stream.RunOutput(Rows(chunk, values), (_, logits) => _logits.Write(at++, logits), survey._cancellation);
            }
        }

        // KL(model || model with the substitute), the mean over the positions.
        public double Divergence(int first, WeightSubstitute substitute)
        {
            int count = _survey._measured.Length, part = _survey._cuts.IndexOf(first), at = 0;
            double sum = 0;
            _survey._recorder.Substitute = substitute;
            try
            {
                for (int i = 0; i < count; i++)
                {
                    int chunk = _survey._measured[i];
                    Span<float> values = _survey.Values(chunk);
                    if (first > 0) _states.Read(((part - 1) * count) + i, values);
                    if (first < _survey._stream.LayerCount) _survey._stream.Run(first, _survey._stream.LayerCount, _survey._chunks[chunk], values, _survey._cancellation);
                    _survey._stream.RunOutput(Rows(chunk, values), (_, logits) =>
                    {
                        _logits.Read(at++, _expected);
                        sum += LogitComparison.Of(_expected, logits, 0).Kl;
                    }, _survey._cancellation);
                }
            }
            finally
            {
                _survey._recorder.Substitute = null;
            }

            return sum / at;
        }

        public void Dispose()
        {
            _states.Dispose();
            _logits.Dispose();
        }

        private IEnumerable<int> Positions(int chunk)
        {
            int length = _survey._chunks[chunk].Length, stride = _survey._options.Stride;
            return Enumerable.Range(0, length).Where(position => position % stride == stride - 1 || position == length - 1);
        }

        private ReadOnlySpan<float> Rows(int chunk, ReadOnlySpan<float> values)
        {
            int width = _survey._stream.Width, count = 0;
            foreach (int position in Positions(chunk))
                values.Slice(position * width, width).CopyTo(_rows.AsSpan(count++ * width));
            return _rows.AsSpan(0, count * width);
        }
    }
}
