using Nibble.Core.Compute;
using Nibble.Core.Gguf;
using Nibble.Quantize.Calibration;
using Nibble.Quantize.Gradients;
using Nibble.Quantize.Quantization;

namespace Nibble.Quantize.Planning;

/// <summary>Sums up x xᵀ of what weights read: one sum for weights that read the same, one for all experts of a weight together, and how often each expert was chosen.</summary>
/// <param name="file">The model.</param>
internal sealed class GramCollector(GgufFile file) : IActivationObserver, IDisposable
{
    private readonly Dictionary<string, Seen> _seen = new(StringComparer.Ordinal);

    /// <inheritdoc/>
    public void Observe(ReadOnlySpan<Weight> weights, ReadOnlySpan<float> x, int rows)
    {
        if (!_seen.TryGetValue(weights[0].Name, out Seen? seen))
        {
            List<string> names = [];
            foreach (Weight weight in weights)
                if (IsWanted(weight)) names.Add(weight.Name);
            if (names.Count == 0) return;
            _seen[weights[0].Name] = seen = new Seen(names, new GramMatrix(weights[0].Columns), [0]);
        }

        seen.Add(x, rows);
        seen.Counts[0] += rows;
    }

    /// <inheritdoc/>
    public void ObserveExperts(Weight weight, ReadOnlySpan<float> x, int rows, ReadOnlySpan<int> experts)
    {
        if (!IsWanted(weight)) return;
        if (!_seen.TryGetValue(weight.Name, out Seen? seen)) _seen[weight.Name] = seen = new Seen([weight.Name], new GramMatrix(weight.Columns), new long[weight.Matrices]);
        seen.Add(x, rows);
        foreach (int expert in experts)
            seen.Counts[expert]++;
    }

    /// <summary>What errors of each weight cost, up to a factor that is not known yet: their own Hessian, and each expert by how often it was chosen.</summary>
    /// <param name="rowWeights">[rows] what the rows of weights of as many count by; null, and for others, all alike.</param>
    public IEnumerable<TensorCost> Costs(float[]? rowWeights = null)
    {
        foreach (Seen seen in _seen.Values)
        {
            float[] hessian = seen.Mean();
            foreach (string name in seen.Names)
            {
                IWeightSource weight = file.Weights.Find(name)!;
                float[] rows = rowWeights?.Length == weight.Rows ? rowWeights : [.. Enumerable.Repeat(1f, weight.Rows)];
                // An expert that was never chosen on this text may be on another: it counts as if it had been chosen once.
                double mean = Math.Max(1, seen.Counts.Average());
                yield return new TensorCost(name, weight.Rows, weight.Columns, [new CostTerm(0, hessian, rows)], weight.Matrices == 1 ? null : seen.Counts.Select(count => (float)(Math.Max(1, count) / mean)));
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Seen seen in _seen.Values)
            seen.Sum.Dispose();
    }

    private bool IsWanted(Weight weight) =>
        file.Weights.Find(weight.Name) is { } source && source.Columns == weight.Columns && source.Rows == weight.Rows && source.Matrices == weight.Matrices
        && TensorNames.IsQuantizable(source);

    private sealed record Seen(IReadOnlyList<string> Names, GramMatrix Sum, long[] Counts)
    {
        private long _rows;

        public void Add(ReadOnlySpan<float> x, int rows)
        {
            Sum.Add(x, rows);
            _rows += rows;
        }

        public unsafe float[] Mean()
        {
            int columns = Sum.Columns;
            float[] mean = new float[checked(columns * columns)];
            fixed (float* values = mean)
                Sum.CopyTo(values);
            RowMath.Scale(mean, 1f / _rows, mean);
            foreach (float value in mean)
                if (!float.IsFinite(value)) throw new CalibrationException($"what '{Names[0]}' reads is no finite number; look for what the calibration text makes overflow.");
            return mean;
        }
    }
}
