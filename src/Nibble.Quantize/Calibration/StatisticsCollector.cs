using System.Globalization;
using Nibble.Core.Compute;

namespace Nibble.Quantize.Calibration;

/// <summary>Collects statistics of the layers that run while it observes.</summary>
/// <param name="kinds">What to collect.</param>
/// <param name="layerCount">Layers of the model.</param>
/// <param name="availableBytes">Bytes that can still be allocated, asked before each allocation.</param>
internal sealed class StatisticsCollector(StatisticKinds kinds, int layerCount, Func<long> availableBytes) : IActivationObserver, IDisposable
{
    private const string LayerPrefix = "blk.";

    // By each weight's name, and once each in the order in which they were met.
    private readonly Dictionary<string, InputAccumulator> _byWeight = new(StringComparer.Ordinal);
    private readonly List<(int Layer, InputAccumulator Input)> _inputs = [];
    private float[] _gathered = [];

    /// <summary>Whether what stands outside of the layers is collected, not the layers.</summary>
    public bool IsOutside { get; set; }

    /// <summary>The layer of a weight by its name; the number of layers for what stands outside of them.</summary>
    /// <param name="weight">The weight's name.</param>
    /// <param name="layerCount">Layers of the model.</param>
    public static int LayerOf(string weight, int layerCount)
    {
        int end = weight.StartsWith(LayerPrefix, StringComparison.Ordinal) ? weight.IndexOf('.', LayerPrefix.Length) : -1;
        return end > 0 && int.TryParse(weight.AsSpan(LayerPrefix.Length, end - LayerPrefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out int layer) ? layer : layerCount;
    }

    /// <inheritdoc/>
    public void Observe(ReadOnlySpan<Weight> weights, ReadOnlySpan<float> x, int rows)
    {
        if (!IsWanted(weights[0].Name)) return;
        if (!_byWeight.TryGetValue(weights[0].Name, out InputAccumulator? input))
        {
            List<string> names = [];
            foreach (Weight weight in weights)
                names.Add(weight.Name);
            input = Start(names, weights[0].Columns, 1);
        }

        input.Add(0, x, rows);
    }

    /// <inheritdoc/>
    public void ObserveExperts(Weight weight, ReadOnlySpan<float> x, int rows, ReadOnlySpan<int> experts)
    {
        if (!IsWanted(weight.Name)) return;
        if (!_byWeight.TryGetValue(weight.Name, out InputAccumulator? input)) input = Start([weight.Name], weight.Columns, weight.Matrices);
        int columns = weight.Columns, products = experts.Length;
        if (_gathered.Length < products * columns) _gathered = new float[products * columns];
        for (int expert = 0; expert < weight.Matrices; expert++)
        {
            int count = 0;
            for (int i = 0; i < products; i++)
            {
                if (experts[i] != expert) continue;
                x.Slice((int)((long)i * rows / products) * columns, columns).CopyTo(_gathered.AsSpan(count * columns));
                count++;
            }

            input.Add(expert, _gathered.AsSpan(0, count * columns), count);
        }
    }

    /// <summary>The statistics of each layer that ran, in order; the collector is empty afterwards.</summary>
    public List<LayerStatistics> Finish()
    {
        List<LayerStatistics> layers = [.. _inputs.GroupBy(one => one.Layer).OrderBy(group => group.Key).Select(group => new LayerStatistics(group.Key, [.. group.Select(one => one.Input.Finish())]))];
        _inputs.Clear();
        _byWeight.Clear();
        return layers;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach ((_, InputAccumulator input) in _inputs)
            input.Dispose();
    }

    private bool IsWanted(string weight) => IsOutside == (LayerOf(weight, layerCount) == layerCount);

    private InputAccumulator Start(List<string> weights, int columns, int matrices)
    {
        long bytes = InputAccumulator.Bytes(columns, matrices, kinds);
        if (bytes > availableBytes())
            throw new InsufficientMemoryException($"statistics of what '{weights[0]}' reads ({matrices} matrices of {columns:N0} columns) need {bytes:N0} bytes; {availableBytes():N0} are free.");
        InputAccumulator input = new(weights, columns, matrices, kinds);
        _inputs.Add((LayerOf(weights[0], layerCount), input));
        foreach (string weight in weights)
            _byWeight.TryAdd(weight, input);
        return input;
    }
}
