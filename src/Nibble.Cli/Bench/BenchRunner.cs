using System.Diagnostics;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Cpu;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;

namespace Nibble.Cli.Bench;

/// <summary>Runs tests on a loaded model. The tokens are random: their values do not matter for the time of a dense model, and spread over the experts of others.</summary>
internal sealed class BenchRunner : IDisposable
{
    private readonly LanguageModel _model;
    private readonly ReadBandwidth? _bandwidth;
    private readonly Action<string> _progress;
    private readonly CancellationToken _cancellation;
    private SplitMix64 _random = new(1);

    /// <summary>Describes the model, and gets ready to measure the memory's speed where the processor computes.</summary>
    /// <param name="model">The model; its owner disposes of it after the runner.</param>
    /// <param name="placement">What a GPU has of it, or null.</param>
    /// <param name="isExact">Whether the device was opened so.</param>
    /// <param name="progress">Told what happens.</param>
    /// <param name="cancellation">Stops a test.</param>
    public BenchRunner(LanguageModel model, ModelPlacement? placement, bool isExact, Action<string> progress, CancellationToken cancellation)
    {
        _model = model;
        _progress = progress;
        _cancellation = cancellation;
        // Beside a GPU the processor has some of the layers, and its memory does not bound the whole.
        CpuBackend? cpu = (model.Backend is SplitBackend split ? split.Host : model.Backend) as CpuBackend;
        _bandwidth = cpu is null || cpu != model.Backend ? null : new ReadBandwidth(cpu);
        long parameters = model.File.Weights.All.Sum(tensor => tensor.RowCount * tensor.Columns);
        Setup = new BenchSetup
        {
            FileName = model.File.Path,
            ModelType = $"{model.Architecture} {SizeOf(model, parameters)} {MainFormat(model.File)}",
            ModelBytes = model.TensorBytes,
            Parameters = parameters,
            Batch = model.BatchTokens,
            Threads = cpu?.Threads ?? 1,
            Backend = model.Backend.Name.ToUpperInvariant(),
            GpuLayers = placement is null ? 0 : placement.DeviceLayers + (placement.Split.TakesOutput ? 1 : 0),
            CpuPath = cpu?.Path.Name ?? string.Empty,
            IsExact = isExact || cpu is null,
            Description = model.Backend.Description,
            TokenWeightBytes = TokenTraffic.WeightBytes(model),
        };
    }

    /// <summary>What is the same for all tests.</summary>
    public BenchSetup Setup { get; }

    /// <summary>Runs a test: once to warm up, then as often as asked.</summary>
    /// <param name="test">The test.</param>
    /// <param name="repetitions">How often it is measured.</param>
    /// <exception cref="OperationCanceledException">It was stopped.</exception>
    /// <exception cref="InsufficientMemoryException">The device has not enough memory for the context.</exception>
    public BenchResult Run(BenchTest test, int repetitions)
    {
        DateTime time = DateTime.UtcNow;
        using Session session = _model.NewSession(new SessionOptions { Context = test.Depth + test.Tokens, KvFormat = test.Kv });
        int[] prompt = Tokens(test.Prompt), generated = Tokens(test.Generated);
        if (test.Depth > 0)
        {
            _progress($"{test.Name}: filling the context");
            session.Evaluate(Tokens(test.Depth), _cancellation);
            session.Checkpoint();
        }

        _progress($"{test.Name}: warming up");
        Pass(session, prompt, generated);
        double before = MeasureBandwidth(test);
        List<long> samples = [];
        for (int i = 0; i < repetitions; i++)
        {
            _progress($"{test.Name}: run {i + 1} of {repetitions}");
            session.Rewind(test.Depth, _cancellation);
            long start = Stopwatch.GetTimestamp();
            Pass(session, prompt, generated);
            samples.Add(Math.Max(1, (long)((Stopwatch.GetTimestamp() - start) * (1e9 / Stopwatch.Frequency))));
        }

        double kvBytes = test.IsDecode ? Enumerable.Range(test.Depth, test.Generated).Average(position => (double)TokenTraffic.KvBytes(_model, position, test.Kv)) : 0;
        double? bandwidth = _bandwidth is not null && test.IsDecode ? (before + MeasureBandwidth(test)) / 2 : null;
        return new BenchResult(Setup, test, time, samples, kvBytes, bandwidth);
    }

    /// <inheritdoc/>
    public void Dispose() => _bandwidth?.Dispose();

    private static string SizeOf(LanguageModel model, long parameters)
    {
        if (model.File.Metadata.FindString("general.size_label") is { Length: > 0 } label) return label;
        return parameters >= 1_000_000_000
            ? string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{parameters / 1e9:0.#}B")
            : string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{parameters / 1e6:0.#}M");
    }

    // The format of most bytes.
    private static BlockFormat MainFormat(GgufFile file) =>
        file.Weights.All.GroupBy(tensor => tensor.Format).MaxBy(group => group.Sum(tensor => tensor.ByteLength))!.Key;

    private void Pass(Session session, ReadOnlySpan<int> prompt, ReadOnlySpan<int> generated)
    {
        if (prompt.Length > 0) session.Evaluate(prompt, _cancellation);
        for (int i = 0; i < generated.Length; i++)
            session.Evaluate(generated.Slice(i, 1), _cancellation);
    }

    private double MeasureBandwidth(BenchTest test)
    {
        if (_bandwidth is null || !test.IsDecode) return 0;
        _progress($"{test.Name}: measuring the memory's speed");
        return _bandwidth.Measure(_cancellation);
    }

    private int[] Tokens(int count)
    {
        int[] ids = new int[count];
        foreach (ref int id in ids.AsSpan())
            id = (int)(_random.Next() % (ulong)_model.VocabularySize);
        return ids;
    }
}
