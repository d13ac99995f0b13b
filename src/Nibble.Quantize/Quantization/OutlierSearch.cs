using Nibble.Quantize.Calibration;
using Nibble.Quantize.Methods;

namespace Nibble.Quantize.Quantization;

/// <summary>A plan that knows which columns are stored apart.</summary>
/// <param name="Plan">The plan.</param>
/// <param name="Unread">Tensors of a threshold of which no columns are apart since nothing read them on the text.</param>
public sealed record OutlierResult(QuantizationPlan Plan, IReadOnlyList<string> Unread);

/// <summary>
/// Which columns LLM.int8 stores apart, by Dettmers et al., arXiv 2208.07339: those where some activation on a text reaches the target's <see cref="Int8Target.Threshold"/>. How many they are stands before all
/// tensors in a file, so they are looked for before anything is made. Tensors of several matrices (experts) have none, since each expert would have its own.
/// </summary>
public static class OutlierSearch
{
    /// <summary>What has to be known of activations.</summary>
    public const StatisticKinds Needs = StatisticKinds.Columns;

    /// <summary>Looks at the activations of all layers that have such targets.</summary>
    /// <param name="plan">The plan.</param>
    /// <param name="statistics">The activations; layers before those that were asked for are gone afterwards.</param>
    /// <param name="cancellation">Looked at between layers.</param>
    /// <exception cref="CalibrationException">The activations hold values that are not finite.</exception>
    public static OutlierResult Run(QuantizationPlan plan, IStatisticsSource statistics, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(statistics);
        List<PlannedTensor> planned = [];
        List<string> unread = [];
        foreach (IGrouping<int, PlannedTensor> layer in plan.Tensors.GroupBy(tensor => TensorNames.Layer(tensor.Source.Name)).OrderBy(layer => layer.Key))
        {
            LayerStatistics? seen = layer.Key < statistics.LayerCount && layer.Any(tensor => tensor.SeeksOutliers) ? statistics.Layer(layer.Key, cancellation) : null;
            foreach (PlannedTensor tensor in layer)
            {
                if (!tensor.SeeksOutliers)
                {
                    planned.Add(tensor);
                    continue;
                }

                ActivationStatistics? inputs = seen?.Find(tensor.Source.Name);
                if (inputs is null) unread.Add(tensor.Source.Name);
                planned.Add(tensor with { Outliers = inputs is null || tensor.Source.Matrices > 1 ? [] : Columns(inputs, ((Int8Target)tensor.Target).Threshold!.Value) });
            }
        }

        return new OutlierResult(QuantizationPlan.Of(plan.Type, planned, plan.Transform), unread);
    }

    private static List<int> Columns(ActivationStatistics inputs, double threshold) =>
        [.. Enumerable.Range(0, inputs.Columns).Where(column => Math.Max(-inputs.Lowest[column], inputs.Highest[column]) >= threshold)];
}
