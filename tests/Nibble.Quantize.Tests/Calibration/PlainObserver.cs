using Nibble.Core.Compute;
using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Tests.Calibration;

/// <summary>Sums of x xᵀ by plain loops in float64, by weight and expert: what the collector is compared with.</summary>
internal sealed class PlainObserver : IActivationObserver
{
    /// <summary>By weight and matrix: rows, and [columns x columns] sums.</summary>
    public Dictionary<(string Weight, int Matrix), (long Count, double[,] Sums)> Found { get; } = [];

    public void Observe(ReadOnlySpan<Weight> weights, ReadOnlySpan<float> x, int rows)
    {
        foreach (Weight weight in weights)
            for (int row = 0; row < rows; row++)
                Add(weight.Name, 0, x.Slice(row * weight.Columns, weight.Columns));
    }

    public void ObserveExperts(Weight weight, ReadOnlySpan<float> x, int rows, ReadOnlySpan<int> experts)
    {
        bool isRowOfToken = rows != experts.Length;
        int used = experts.Length / rows;
        for (int i = 0; i < experts.Length; i++)
            Add(weight.Name, experts[i], x.Slice((isRowOfToken ? i / used : i) * weight.Columns, weight.Columns));
    }

    private void Add(string weight, int matrix, ReadOnlySpan<float> x)
    {
        (long count, double[,]? sums) = Found.GetValueOrDefault((weight, matrix));
        sums ??= new double[x.Length, x.Length];
        for (int i = 0; i < x.Length; i++)
            for (int j = 0; j < x.Length; j++)
                sums[i, j] += (double)x[i] * x[j];
        Found[(weight, matrix)] = (count + 1, sums);
    }
}
