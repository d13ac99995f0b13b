using Nibble.Core.Compute;

namespace Nibble.Quantize.Calibration;

/// <summary>Sees what a model's weights are multiplied with, through a <see cref="RecordingBackend"/>.</summary>
public interface IActivationObserver
{
    /// <summary>Weights are multiplied with rows.</summary>
    /// <param name="weights">The weights, of one matrix each, that read the same rows.</param>
    /// <param name="x">[rows x columns of the weights], valid during the call only.</param>
    /// <param name="rows">Rows, usually one a token.</param>
    void Observe(ReadOnlySpan<Weight> weights, ReadOnlySpan<float> x, int rows);

    /// <summary>The experts of a weight are multiplied with rows.</summary>
    /// <param name="weight">The weight, with a matrix an expert.</param>
    /// <param name="x">[rows x columns], valid during the call only.</param>
    /// <param name="rows">Rows: one a token or one a product.</param>
    /// <param name="experts">[products] the expert of each; product i reads row i x rows / products.</param>
    void ObserveExperts(Weight weight, ReadOnlySpan<float> x, int rows, ReadOnlySpan<int> experts);
}
