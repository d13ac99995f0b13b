using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Nibble.Core.Compute;
using Nibble.Llm.Models;

namespace Nibble.Quantize.Calibration;

/// <summary>
/// Statistics as they are asked for: <see cref="Calibrator.Run"/> works on a thread of its own and waits with each layer until the next one is wanted, so that no more are kept than it computes together. It begins at
/// the first layer that is asked for.
/// </summary>
public sealed class CalibrationFeed : IStatisticsSource
{
    private readonly LanguageModel _model;
    private readonly IReadOnlyList<int[]> _chunks;
    private readonly CalibrationOptions _options;
    private readonly IProgress<CalibrationProgress>? _progress;
    private readonly CancellationTokenSource _stop = new();
    private readonly SemaphoreSlim _offered = new(0), _taken = new(0);
    private readonly Lazy<string> _identity;
    private Task? _run;
    private LayerStatistics? _current;
    private Exception? _error;
    private bool _isEnded;

    /// <summary>Prepares; nothing runs yet.</summary>
    /// <param name="model">A model whose backend is a <see cref="RecordingBackend"/>; it stays open.</param>
    /// <param name="chunks">Ids, chunk by chunk, each evaluated alone.</param>
    /// <param name="options">How; <see cref="CalibrationOptions.FirstLayer"/> is set by the first question.</param>
    /// <param name="progress">Told of each chunk, on another thread, or null.</param>
    public CalibrationFeed(LanguageModel model, IReadOnlyList<int[]> chunks, CalibrationOptions options, IProgress<CalibrationProgress>? progress)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(chunks);
        ArgumentNullException.ThrowIfNull(options);
        (_model, _chunks, _options, _progress) = (model, chunks, options, progress);
        _identity = new(MakeIdentity);
    }

    /// <inheritdoc/>
    public string Identity => _identity.Value;

    /// <inheritdoc/>
    public int LayerCount => _model.LayerCount;

    /// <inheritdoc/>
    public LayerStatistics? Layer(int layer, CancellationToken cancellation)
    {
        if (layer < 0) return null;
        _run ??= Task.Factory.StartNew(() => Run(layer), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        while (true)
        {
            if (_current is { } current)
            {
                if (current.Layer >= layer) return current.Layer == layer ? current : null;
                _current = null;
                _taken.Release();
            }

            if (_isEnded)
            {
                if (_error is { } error) ExceptionDispatchInfo.Throw(error);
                return null;
            }

            _offered.Wait(cancellation);
        }
    }

    /// <summary>Stops what still runs.</summary>
    public void Dispose()
    {
        _stop.Cancel();
        _run?.Wait();
        _stop.Dispose();
        _offered.Dispose();
        _taken.Dispose();
    }

    private string MakeIdentity()
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (string part in _model.File.PartPaths)
        {
            using FileStream file = File.OpenRead(part);
            hash.AppendData(SHA256.HashData(file));
        }

        foreach (int[] chunk in _chunks)
        {
            hash.AppendData(BitConverter.GetBytes(chunk.Length));
            hash.AppendData(MemoryMarshal.AsBytes(chunk.AsSpan()));
        }

        string kernels = string.Join(';', _model.File.Weights.All.Select(tensor => tensor.Format).Distinct().Select(format => $"{format}={_model.Backend.KernelName(Operation.MatMul, format)}"));
        return $"{_model.Backend.Name} {kernels} kv={_options.KvFormat} {Convert.ToHexStringLower(hash.GetHashAndReset())}";
    }

    private void Run(int first)
    {
        try
        {
            Calibrator.Run(_model, _chunks, _options with { FirstLayer = first }, Offer, _progress, _stop.Token);
        }
        catch (Exception error)
        {
            _error = error;
        }

        _isEnded = true;
        _offered.Release();
    }

    private void Offer(LayerStatistics layer)
    {
        _current = layer;
        _offered.Release();
        _taken.Wait(_stop.Token);
    }
}
