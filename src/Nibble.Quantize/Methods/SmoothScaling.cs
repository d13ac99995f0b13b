using System.Globalization;
using Nibble.Core.Compute;
using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Methods;

/// <summary>
/// SmoothQuant: column j of the weights is multiplied by s_j = max|x_j|^a / max|w_j|^(1 - a), and what makes x_j is divided by it, so that no channel of the activations sticks out of the others when they are rounded to 8 bits
/// with one scale for all.
/// </summary>
/// <remarks>Xiao et al., SmoothQuant, arXiv 2211.10438, equation 4; a = 0.5 as there. Where heads share values, the greatest of the columns that share a factor counts.</remarks>
public sealed class SmoothScaling : LayerTransform
{
    internal const string Word = "smooth";
    private const double UsualStrength = 0.5;
    private const float Least = 1e-5f;

    /// <summary>a: 0 leaves the activations as they are, 1 makes all their channels alike.</summary>
    public double Strength { get; init; } = UsualStrength;

    /// <inheritdoc/>
    public override string Name => Strength == UsualStrength ? Word : string.Create(CultureInfo.InvariantCulture, $"{Word}:{Strength:R}");

    /// <inheritdoc/>
    public override StatisticKinds Needs => StatisticKinds.Columns;

    /// <inheritdoc/>
    public override LayerChange Apply(LayerView layer, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(layer);
        LayerChange change = new();
        foreach (FoldedScales pair in FoldedScales.Of(layer))
        {
            cancellation.ThrowIfCancellationRequested();
            float[] weights = new float[pair.Inputs.Columns];
            foreach (string name in pair.Inputs.Weights)
            {
                FloatMatrix matrix = change.Open(layer.Tensors[name]);
                for (int i = 0; i < matrix.Values.Length; i++) weights[i % weights.Length] = MathF.Max(weights[i % weights.Length], MathF.Abs(matrix.Values[i]));
            }

            float[] ofInputs = pair.Greatest(Magnitudes(pair.Inputs)), ofWeights = pair.Greatest(weights), factors = new float[pair.Count];
            for (int c = 0; c < factors.Length; c++)
                factors[c] = (float)(Math.Pow(Math.Max(ofInputs[c], Least), Strength) / Math.Pow(Math.Max(ofWeights[c], Least), 1 - Strength));
            pair.Fold(factors, change);
        }

        return change;
    }

    internal static SmoothScaling? Read(ReadOnlySpan<string> words) => words switch
    {
        [] => new SmoothScaling(),
        [string text] when double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double strength) && strength is >= 0 and <= 1 => new SmoothScaling { Strength = strength },
        _ => null,
    };

    private static float[] Magnitudes(ActivationStatistics inputs) => [.. inputs.Lowest.Zip(inputs.Highest, (low, high) => MathF.Max(-low, high))];
}
