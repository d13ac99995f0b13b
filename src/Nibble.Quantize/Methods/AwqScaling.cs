using Nibble.Core.Compute;
using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Methods;

/// <summary>
/// The first half of AWQ: columns whose inputs are large are multiplied by s before they are rounded, so that they lose less, and what makes the inputs is divided by s. s = mean|x|^a, or mean|x|^a / mean|w|^(1 - a)
/// with |w| as a share of the largest of its 128 columns, for the a = 0, 1/20 ... 19/20 that loses least, as tr(D H Dᵀ) with D = Q(W s) / s - W and H = S(x xᵀ).
/// </summary>
/// <remarks>Lin et al., AWQ, arXiv 2306.00978; steps: AutoAWQ 0.2.9, quantize/quantizer.py, where the loss is measured behind the layer's next operations instead.</remarks>
public sealed class AwqScaling : LayerTransform
{
    internal const string Word = "awq";

    // Rows of each weight that the search looks at.
    private const int SampleRows = 512;
    private const int Ratios = 20, WeightGroup = 128;
    private const float Least = 1e-4f;

    private static readonly RoundingMethod s_nearest = new RoundToNearest(), s_fractions = new HqqRounding();

    /// <inheritdoc/>
    public override string Name => Word;

    /// <inheritdoc/>
    public override StatisticKinds Needs => StatisticKinds.Hessian;

    /// <inheritdoc/>
    public override LayerChange Apply(LayerView layer, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(layer);
        LayerChange change = new();
        foreach (FoldedScales pair in FoldedScales.Of(layer))
        {
            List<(FloatMatrix Matrix, TensorTarget Target)> readers = [.. pair.Inputs.Weights.Select(name => (change.Open(layer.Tensors[name]).Sample(SampleRows), layer.Targets[name]))];
            if (Search(pair, readers, cancellation) is { } factors) pair.Fold(factors, change);
        }

        return change;
    }

    // Null where no factors lose less than none.
    private static float[]? Search(FoldedScales pair, List<(FloatMatrix Matrix, TensorTarget Target)> readers, CancellationToken cancellation)
    {
        LayerHessian hessian = LayerHessian.Of(pair.Inputs, 0);
        float count = pair.Inputs.Counts[0];
        float[] inputs = pair.Shared(Array.ConvertAll(pair.Inputs.AbsSums, sum => sum / count)), weights = pair.Shared(MeanShares(readers));
        double best = Loss(pair, readers, hessian, null);
        float[]? found = null;
        for (int i = 1; i < 2 * Ratios; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            float ratio = i % Ratios / (float)Ratios;
            bool isDuo = i >= Ratios;
            float[] factors = new float[pair.Count];
            for (int c = 0; c < factors.Length; c++)
                factors[c] = MathF.Max(isDuo ? MathF.Pow(inputs[c], ratio) / (MathF.Pow(weights[c], 1 - ratio) + Least) : MathF.Pow(inputs[c], ratio), Least);
            float middle = MathF.Sqrt(factors.Max() * factors.Min());
            for (int c = 0; c < factors.Length; c++)
            {
                factors[c] /= middle;
                if (!float.IsFinite(factors[c]) || factors[c] == 0) factors[c] = 1;
            }

            double loss = Loss(pair, readers, hessian, pair.Columns(factors));
            if (loss < best) (best, found) = (loss, factors);
        }

        return found;
    }

    private static double Loss(FoldedScales pair, List<(FloatMatrix Matrix, TensorTarget Target)> readers, LayerHessian hessian, float[]? factors)
    {
        double loss = 0;
        int columns = pair.Inputs.Columns;
        foreach ((FloatMatrix matrix, TensorTarget target) in readers)
        {
            float[] scaled = [.. matrix.Values];
            if (factors is not null)
                for (int i = 0; i < scaled.Length; i++) scaled[i] *= factors[i % columns];
            RoundingTask task = RoundingTask.Of(new FloatMatrix(matrix.Name, scaled, matrix.Rows, columns), 0, target);
            float[] error = target.Decode((s_nearest.Supports(target) ? s_nearest : s_fractions).Round(task, CancellationToken.None), task);
            for (int i = 0; i < error.Length; i++) error[i] = (factors is null ? error[i] : error[i] / factors[i % columns]) - matrix.Values[i];
            loss += HessianCost.Of(hessian.Values, columns, error);
        }

        return loss;
    }

    // [columns] mean over all rows of |w| as a share of the largest of its group.
    private static float[] MeanShares(List<(FloatMatrix Matrix, TensorTarget Target)> readers)
    {
        float[] sums = new float[readers[0].Matrix.Columns];
        int rows = 0;
        foreach ((FloatMatrix matrix, _) in readers)
        {
            int group = matrix.Columns % WeightGroup == 0 ? WeightGroup : matrix.Columns;
            rows += matrix.Rows;
            for (int start = 0; start < matrix.Values.Length; start += group)
            {
                ReadOnlySpan<float> values = matrix.Values.AsSpan(start, group);
                float largest = Least / 100;
                foreach (float value in values) largest = MathF.Max(largest, MathF.Abs(value));
                for (int i = 0; i < group; i++) sums[(start + i) % matrix.Columns] += MathF.Abs(values[i]) / largest;
            }
        }

        return Array.ConvertAll(sums, sum => sum / rows);
    }
}
