using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Llm.Models;

namespace Nibble.Quantize.Calibration;

/// <summary>How a <see cref="Calibrator"/> works.</summary>
public sealed record CalibrationOptions
{
    /// <summary>What is collected beside the columns' sums.</summary>
    public StatisticKinds Kinds { get; init; }

    /// <summary>Format of keys and values while the model runs.</summary>
    public BlockFormat KvFormat { get; init; } = BlockFormats.F32;

    /// <summary>Whether the output matrix behind the layers is calibrated too.</summary>
    public bool IncludesOutput { get; init; }

    /// <summary>
    /// Bytes that statistics may take at a time. Layers are taken together as long as theirs fit, one at least; with all of them together the text is evaluated in one go, otherwise some layers after the
    /// others. The states of all tokens between two layers take as much at most, and lie in a temporary file where they are more.
    /// </summary>
    public long MemoryBytes { get; init; } = 1L << 30;

    /// <summary>The first layer whose statistics are wanted; those before it run, and where that costs nothing are collected, too.</summary>
    public int FirstLayer { get; init; }

    /// <summary>A folder that keeps the statistics of each layer, so that a second run computes nothing; null for none.</summary>
    public string? CacheFolder { get; init; }
}

/// <summary>How far calibration has come.</summary>
/// <param name="Share">0 to 1.</param>
/// <param name="Layer">The first of the layers that run now.</param>
public readonly record struct CalibrationProgress(double Share, int Layer);

/// <summary>Runs a calibration text through a model and hands out the statistics of each layer's inputs, layer by layer.</summary>
public static class Calibrator
{
    /// <summary>Calibrates.</summary>
    /// <param name="model">A model whose backend is a <see cref="RecordingBackend"/>.</param>
    /// <param name="chunks">Ids, chunk by chunk, each evaluated alone.</param>
    /// <param name="options">How.</param>
    /// <param name="take">Given each layer's statistics, in order, the output's last; they are freed after the call.</param>
    /// <param name="progress">Told of each chunk.</param>
    /// <param name="cancellation">Looked at between layers. What was written to the cache stays.</param>
    /// <exception cref="ArgumentException">There are no chunks, or the model records nothing.</exception>
    /// <exception cref="CalibrationException">The activations hold values that are not finite.</exception>
    /// <exception cref="InsufficientMemoryException">The statistics of a layer do not fit.</exception>
    public static void Run(
        LanguageModel model, IReadOnlyList<int[]> chunks, CalibrationOptions options, Action<LayerStatistics> take, IProgress<CalibrationProgress>? progress, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(chunks);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(take);
        RecordingBackend recorder = model.Backend as RecordingBackend
            ?? throw new ArgumentException($"the model runs on {model.Backend.Name} without a {nameof(RecordingBackend)}; load it onto one.", nameof(model));
        if (chunks.Count == 0) throw new ArgumentException("there are no chunks to calibrate on; use a longer text or smaller chunks.", nameof(chunks));
        using LayerStream stream = new(model, chunks.Max(chunk => chunk.Length), options.KvFormat);
        StatisticsCache? cache = options.CacheFolder is null ? null : new StatisticsCache(options.CacheFolder, model, chunks, options);
        List<(int First, int End)> groups = Groups(model, stream, options);
        using StateStore? states = groups.Count > 1 || options.IncludesOutput ? new StateStore(chunks.Select(chunk => chunk.Length * stream.Width), options.MemoryBytes) : null;
        using StatisticsCollector collector = new(options.Kinds, stream.LayerCount, () => model.Backend.AvailableBytes);
        Pass pass = new(stream, recorder, collector, chunks, states, stream.LayerCount + (options.IncludesOutput ? 1 : 0), progress, cancellation);
        foreach ((int first, int end) in groups)
        {
            if (end <= options.FirstLayer) continue;
            if (cache?.TryRead(first, end) is { } known)
            {
                HandOut(known, take);
                continue;
            }

            pass.Run(first, end);
            HandOut(collector.Finish(), take, cache);
        }

        if (!options.IncludesOutput) return;
        if (cache?.TryRead(stream.LayerCount, stream.LayerCount + 1) is { } knownOutput)
        {
            HandOut(knownOutput, take);
            return;
        }

        pass.RunOutput();
        HandOut(collector.Finish(), take, cache);
    }

    // Layers that are taken together: as many as the budget allows, cut only where the stream can be cut.
    private static List<(int First, int End)> Groups(LanguageModel model, LayerStream stream, CalibrationOptions options)
    {
        long[] bytes = new long[stream.LayerCount + 1];
        foreach (IWeightSource tensor in model.File.Weights.All)
            if (tensor.Rows > 1) bytes[StatisticsCollector.LayerOf(tensor.Name, stream.LayerCount)] += InputAccumulator.Bytes(tensor.Columns, tensor.Matrices, options.Kinds);
        List<(int First, int End)> groups = [];
        for (int first = 0; first < stream.LayerCount;)
        {
            int end = stream.NextCut(first + 1);
            for (int next = end; next < stream.LayerCount;)
            {
                next = stream.NextCut(next + 1);
                if (bytes.AsSpan(first, next - first).ToArray().Sum() > options.MemoryBytes) break;
                end = next;
            }

            groups.Add((first, end));
            first = end;
        }

        return groups;
    }

    private static void HandOut(List<LayerStatistics> layers, Action<LayerStatistics> take, StatisticsCache? cache = null)
    {
        foreach (LayerStatistics layer in layers)
        {
            using (layer)
            {
                cache?.Write(layer);
                take(layer);
            }
        }
    }

    /// <summary>The way of all chunks through the layers.</summary>
    private sealed class Pass(
        LayerStream stream, RecordingBackend recorder, StatisticsCollector collector, IReadOnlyList<int[]> chunks, StateStore? states, int steps, IProgress<CalibrationProgress>? progress, CancellationToken cancellation)
    {
        private readonly float[] _values = new float[chunks.Max(chunk => chunk.Length) * stream.Width];

        // The layer whose input the stored states are.
        private int _reached;

        /// <summary>Runs layers over all chunks and collects; those before them that were skipped run without being recorded.</summary>
        public void Run(int first, int end)
        {
            for (int c = 0; c < chunks.Count; c++)
            {
                Span<float> values = _values.AsSpan(0, chunks[c].Length * stream.Width);
                if (_reached > 0) states!.Read(c, values);
                if (first > _reached) stream.Run(_reached, first, chunks[c], values, cancellation);
                try
                {
                    recorder.Observer = collector;
                    stream.Run(first, end, chunks[c], values, cancellation);
                }
                finally
                {
                    recorder.Observer = null;
                }

                states?.Write(c, values);
                progress?.Report(new CalibrationProgress((first + ((c + 1.0) / chunks.Count * (end - first))) / steps, first));
            }

            _reached = end;
        }

        /// <summary>Shows the collector what the output matrix is multiplied with: what the last layer gave, behind the last norm.</summary>
        public void RunOutput()
        {
            collector.IsOutside = true;
            for (int c = 0; c < chunks.Count; c++)
            {
                Span<float> values = _values.AsSpan(0, chunks[c].Length * stream.Width);
                if (_reached > 0) states!.Read(c, values);
                if (_reached < stream.LayerCount) stream.Run(_reached, stream.LayerCount, chunks[c], values, cancellation);
                try
                {
                    (recorder.Observer, recorder.SkipsProducts) = (collector, true);
                    stream.RunOutput(values, null, cancellation);
                }
                finally
                {
                    (recorder.Observer, recorder.SkipsProducts) = (null, false);
                }

                progress?.Report(new CalibrationProgress((stream.LayerCount + ((c + 1.0) / chunks.Count)) / steps, stream.LayerCount));
            }
        }
    }
}
