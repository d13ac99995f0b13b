using Nibble.Core.Compute;
using Nibble.Core.Gguf;
using Nibble.Core.Memory;
using Nibble.Llm.Models;
using Nibble.Llm.Sampling;
using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Gradients;

/// <summary>
/// One backward pass over a calibration text: what errors of each weight cost. Layer by layer, first forwards, with what every layer reads kept, then backwards, where each layer's forward pass is computed
/// again: memory stays at one layer's weights and Hessians, and the states. In float32, on all cores, a chunk a thread; sums are made in the order of the chunks, so threads do not show in them.
/// </summary>
public sealed class GradientPass
{
    private readonly PlainDecoder _decoder;
    private readonly GgufFile _file;
    private readonly IReadOnlyList<int[]> _chunks;
    private readonly GradientOptions _options;
    private readonly ParallelOptions _parallel;
    private readonly int _tokens;
    private readonly List<float[]> _states;
    private readonly List<LayerWorkspace> _spaces = [];
    private IProgress<GradientProgress>? _progress;
    private double _done;

    private GradientPass(PlainDecoder decoder, GgufFile file, IReadOnlyList<int[]> chunks, GradientOptions options, CancellationToken cancellation)
    {
        _decoder = decoder;
        _file = file;
        _chunks = chunks;
        _options = options;
        int threads = Math.Min(chunks.Count, Work.Threads);
        _parallel = new ParallelOptions { MaxDegreeOfParallelism = threads, CancellationToken = cancellation };
        _tokens = chunks.Max(chunk => chunk.Length);
        _states = [.. Enumerable.Range(0, threads).Select(_ => new float[_tokens * decoder.Width])];
    }

    // What steps cost, relative to a layer's forward pass.
    private const double BackwardCost = 5;

    private double AllSteps => _chunks.Count * ((_decoder.Layers.Length * (1 + BackwardCost)) + 1);

    /// <summary>Runs over a text.</summary>
    /// <param name="decoder">The model's parts.</param>
    /// <param name="file">Its file.</param>
    /// <param name="chunks">Ids, chunk by chunk, each evaluated alone.</param>
    /// <param name="options">How.</param>
    /// <param name="take">Given each layer's statistics, the last layer's first; they are freed after the call.</param>
    /// <param name="progress">Told of each layer and chunk, or null.</param>
    /// <param name="cancellation">Looked at between chunks.</param>
    /// <returns>The statistics of embedding and output.</returns>
    /// <exception cref="ArgumentException">There are no chunks, one is empty, or an id is not in the vocabulary.</exception>
    /// <exception cref="CalibrationException">A logit or a gradient is no finite number.</exception>
    /// <exception cref="IOException">There is no place for the states.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public static HeadStatistics Run(
        PlainDecoder decoder, GgufFile file, IReadOnlyList<int[]> chunks, GradientOptions options, Action<int, IReadOnlyList<FisherStatistics>> take, IProgress<GradientProgress>? progress, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(decoder);
        ArgumentNullException.ThrowIfNull(file);
        ArgumentNullException.ThrowIfNull(chunks);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(take);
        if (options.RowGroups < 1) throw new ArgumentOutOfRangeException(nameof(options), $"{options.RowGroups} groups of rows were asked for; it must be 1 or more.");
        if (chunks.Count == 0) throw new ArgumentException("there are no chunks to compute gradients on; use a longer text or smaller chunks.", nameof(chunks));
        foreach (int[] chunk in chunks)
        {
            if (chunk.Length == 0) throw new ArgumentException("a chunk is empty; each must have a token.", nameof(chunks));
            foreach (int id in chunk)
                if ((uint)id >= (uint)decoder.Embedding.Rows) throw new ArgumentException($"token {id} is not in the vocabulary, whose ids are 0 to {decoder.Embedding.Rows - 1}.", nameof(chunks));
        }

        using IDisposable limit = Work.Limit(options.Threads);
        GradientPass pass = new(decoder, file, chunks, options, cancellation) { _progress = progress };
        try
        {
            return pass.Run(take);
        }
        finally
        {
            foreach (LayerWorkspace space in pass._spaces)
                space.Dispose();
        }
    }

    private HeadStatistics Run(Action<int, IReadOnlyList<FisherStatistics>> take)
    {
        int layers = _decoder.Layers.Length, count = _chunks.Count;
        using StateStore store = new(Enumerable.Range(0, (layers + 1) * count).Select(i => _chunks[i % count].Length * _decoder.Width), _options.MemoryBytes);
        Embed(store);
        for (int layer = 0; layer < layers; layer++)
        {
            int current = layer;
            using LayerGradient gradient = new(_decoder.Layers[layer], _file, _tokens);
            ForEachBatch(layer, false, (chunk, thread) =>
            {
                Span<float> state = State(chunk, thread);
                store.Read((current * count) + chunk, state);
                LayerWorkspace space = Space(thread, gradient.Layer);
                gradient.Forward(space, state);
                store.Write(((current + 1) * count) + chunk, space.State.Span);
            });
        }

        using Head head = new(_decoder.Width, _decoder.Output.Rows);
        RunHead(store, head);
        long tokens = _chunks.Sum(chunk => (long)chunk.Length);
        for (int layer = layers - 1; layer >= 0; layer--)
        {
            int current = layer;
            using LayerGradient gradient = new(_decoder.Layers[layer], _file, _tokens);
            using FisherCollector collector = new(gradient.Layer, _options.RowGroups);
            ForEachBatch(
                layer,
                true,
                (chunk, thread) =>
                {
                    Span<float> state = State(chunk, thread);
                    store.Read((current * count) + chunk, state);
                    LayerWorkspace space = Space(thread, gradient.Layer);
                    gradient.Forward(space, state);
                    store.Read((layers * count) + chunk, state);
                    gradient.Backward(space, state);
                    store.Write((layers * count) + chunk, state);
                },
                batch => collector.Add(_spaces[..batch], _parallel));
            List<FisherStatistics> statistics = collector.Finish(tokens);
            take(layer, statistics);
            foreach (FisherStatistics one in statistics)
                one.Dispose();
        }

        return head.Finish(this, store, tokens);
    }

    private Span<float> State(int chunk, int thread) => _states[thread].AsSpan(0, _chunks[chunk].Length * _decoder.Width);

    private LayerWorkspace Space(int thread, PlainLayer layer)
    {
        lock (_spaces)
        {
            // Layers of one shape share their memory.
            while (_spaces.Count <= thread)
                _spaces.Add(new LayerWorkspace(layer, _tokens));
            if (_spaces[thread].Shape == LayerWorkspace.ShapeOf(layer)) return _spaces[thread];
            _spaces[thread].Dispose();
            return _spaces[thread] = new LayerWorkspace(layer, _tokens);
        }
    }

    // Chunks side by side, as many as there are threads; then what adds them up, in their order.
    private void ForEachBatch(int layer, bool isBackward, Action<int, int> run, Action<int>? add = null)
    {
        int threads = _states.Count;
        for (int first = 0; first < _chunks.Count; first += threads)
        {
            _parallel.CancellationToken.ThrowIfCancellationRequested();
            int start = first, batch = Math.Min(threads, _chunks.Count - first);
            Work.For(batch, _parallel, i => run(start + i, i));
            add?.Invoke(batch);
            _done += batch * (isBackward && layer < _decoder.Layers.Length ? BackwardCost : 1);
            _progress?.Report(new GradientProgress(_done / AllSteps, layer, isBackward));
        }
    }

    private void Embed(StateStore store)
    {
        IWeightSource table = _file.Weights.Find(_decoder.Embedding.Weight)!;
        for (int c = 0; c < _chunks.Count; c++)
        {
            Span<float> state = State(c, 0);
            for (int t = 0; t < _chunks[c].Length; t++)
            {
                Span<float> row = state.Slice(t * _decoder.Width, _decoder.Width);
                table.CopyRow(_chunks[c][t], row);
                if (_decoder.EmbeddingScale != 1) RowMath.Scale(row, _decoder.EmbeddingScale, row);
            }

            store.Write(c, state);
        }
    }

    private unsafe void RunHead(StateStore store, Head head)
    {
        int layers = _decoder.Layers.Length, count = _chunks.Count, width = _decoder.Width, threads = _states.Count;
        using HeadGradient gradient = new(_decoder, _file);
        using NativeBuffer memory = new(sizeof(float) * (long)_tokens * width * threads, isZeroed: false);
        double[] checks = new double[threads];
        double[][] spreads = [.. Enumerable.Range(0, threads).Select(_ => new double[_decoder.Output.Rows])];
        int[] lengths = new int[threads];
        Matrix Hidden(int thread) => new((float*)memory.Pointer + ((long)thread * _tokens * width), lengths[thread], width);
        ForEachBatch(
            layers,
            true,
            (chunk, thread) =>
            {
                Span<float> state = State(chunk, thread);
                store.Read((layers * count) + chunk, state);
                lengths[thread] = _chunks[chunk].Length;
                Array.Clear(spreads[thread]);
                // Chunks are known by their place, so that a sign depends on nothing else.
                RandomSource source = new((_options.Seed << 32) + (ulong)chunk);
                fixed (float* values = state)
                    checks[thread] = gradient.Run(new Matrix(values, lengths[thread], width), source, [], Hidden(thread), spreads[thread]);
                store.Write((layers * count) + chunk, state);
            },
            batch =>
            {
                for (int i = 0; i < batch; i++)
                    head.Add(checks[i], spreads[i], Hidden(i));
            });
    }

    /// <summary>What is summed up of embedding and output.</summary>
    private sealed class Head(int width, int vocabulary) : IDisposable
    {
        private readonly GramMatrix _hidden = new(width);
        private readonly double[] _spread = new double[vocabulary];

        public void Add(double check, double[] spread, Matrix hidden)
        {
            if (!double.IsFinite(check)) throw new CalibrationException("the model's logits on the calibration text are no finite numbers; look for what the text makes overflow.");
            for (int i = 0; i < vocabulary; i++)
                _spread[i] += spread[i];
            _hidden.Add(hidden.Span, hidden.Rows);
        }

        public HeadStatistics Finish(GradientPass pass, StateStore store, long tokens)
        {
            using GramMatrix input = new(width);
            int first = pass._decoder.Layers.Length * pass._chunks.Count;
            long[] counts = new long[vocabulary];
            for (int c = 0; c < pass._chunks.Count; c++)
            {
                Span<float> state = pass.State(c, 0);
                store.Read(first + c, state);
                if (pass._decoder.EmbeddingScale != 1) RowMath.Scale(state, pass._decoder.EmbeddingScale, state);
                input.Add(state, pass._chunks[c].Length);
                foreach (int id in pass._chunks[c])
                    counts[id]++;
            }

            return new HeadStatistics(width, Mean(_hidden, tokens), Mean(input, tokens), [.. _spread.Select(sum => (float)(sum / tokens))], [.. counts.Select(count => (float)count / tokens)], tokens);
        }

        public void Dispose() => _hidden.Dispose();

        private unsafe float[] Mean(GramMatrix sums, long tokens)
        {
            float[] values = new float[width * width];
            fixed (float* target = values)
                sums.CopyTo(target);
            RowMath.Scale(values, 1f / tokens, values);
            return values;
        }
    }
}
