namespace Nibble.Quantize.Calibration;

/// <summary>Where a method gets the statistics of a layer's inputs from, layer after layer.</summary>
public interface IStatisticsSource : IDisposable
{
    /// <summary>What the statistics follow from: text, model, arithmetic. Two sources of one identity give the same bits.</summary>
    string Identity { get; }

    /// <summary>Layers of the model: the number by which <see cref="Layer"/> names what stands behind them.</summary>
    int LayerCount { get; }

    /// <summary>The statistics of a layer. They stay valid until the next call.</summary>
    /// <param name="layer">-1 for what stands before the layers, <see cref="LayerCount"/> for what stands behind them; never less than in the call before.</param>
    /// <param name="cancellation">Looked at between layers.</param>
    /// <returns>Null where there are none.</returns>
    /// <exception cref="CalibrationException">The activations hold values that are not finite.</exception>
    /// <exception cref="InsufficientMemoryException">The statistics do not fit.</exception>
    LayerStatistics? Layer(int layer, CancellationToken cancellation);
}
