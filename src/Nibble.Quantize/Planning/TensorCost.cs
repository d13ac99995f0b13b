using System.Collections.Immutable;
using Nibble.Core.Memory;
using Nibble.Quantize.Gradients;
using Nibble.Quantize.Methods;

namespace Nibble.Quantize.Planning;

/// <summary>A part of what an error of a matrix costs: ½ · sum over some neighbouring rows r of w(r) · δ(r) H δ(r)ᵀ.</summary>
/// <param name="FirstRow">The first of the rows.</param>
/// <param name="Hessian">[columns x columns] H, symmetric.</param>
/// <param name="RowWeights">[rows] w, from 0 up.</param>
public sealed record CostTerm(int FirstRow, float[] Hessian, float[] RowWeights);

/// <summary>What an error δ of a matrix costs, to second order: the sum of its terms, in nats a token where it is known how the loss depends on the matrix.</summary>
public sealed class TensorCost
{
    /// <summary>Takes terms in.</summary>
    /// <param name="name">The tensor.</param>
    /// <param name="rows">Rows of the matrix.</param>
    /// <param name="columns">Its columns.</param>
    /// <param name="terms">The terms; each row is in one at least.</param>
    /// <param name="matrices">[matrices] what an error of each of the tensor's matrices counts by, which the terms are for alike; null for one matrix.</param>
    /// <exception cref="ArgumentException">A term is of another shape, two overlap in part, or a row is in none.</exception>
    public TensorCost(string name, int rows, int columns, IEnumerable<CostTerm> terms, IEnumerable<float>? matrices = null)
    {
        ArgumentNullException.ThrowIfNull(terms);
        (Name, Rows, Columns, Terms, Matrices) = (name, rows, columns, [.. terms], [.. matrices ?? [1]]);
        foreach (CostTerm term in Terms)
            if (term.Hessian.Length != (long)columns * columns || term.FirstRow < 0 || term.RowWeights.Length == 0 || term.FirstRow + term.RowWeights.Length > rows)
                throw new ArgumentException($"a term of '{name}' is for rows {term.FirstRow} to {term.FirstRow + term.RowWeights.Length - 1} with a Hessian of {term.Hessian.Length} values; the matrix has {rows} rows of {columns}.", nameof(terms));
        Groups = [.. Terms.Select(term => (term.FirstRow, term.RowWeights.Length)).Distinct().Order()];
        int end = 0;
        foreach ((int first, int count) in Groups)
        {
            if (first != end) throw new ArgumentException($"the terms of '{name}' do not cover its {rows} rows, each group once: row {Math.Min(first, end)}.", nameof(terms));
            end = first + count;
        }

        if (end != rows) throw new ArgumentException($"the terms of '{name}' end at row {end}; the matrix has {rows}.", nameof(terms));
    }

    /// <summary>The tensor.</summary>
    public string Name { get; }

    /// <summary>Rows.</summary>
    public int Rows { get; }

    /// <summary>Columns.</summary>
    public int Columns { get; }

    /// <summary>The terms.</summary>
    public ImmutableArray<CostTerm> Terms { get; }

    /// <summary>[matrices] what an error of each of the tensor's matrices (its experts) counts by; 1 where there is one matrix.</summary>
    public ImmutableArray<float> Matrices { get; }

    /// <summary>The groups of neighbouring rows that are rounded with one Hessian each: the first row and how many.</summary>
    public ImmutableArray<(int First, int Count)> Groups { get; }

    /// <summary>The cost of a linear layer: H of each group of rows, weighted by each row's share of its group's squared gradients.</summary>
    /// <param name="statistics">What a gradient pass found.</param>
    public static TensorCost Of(FisherStatistics statistics)
    {
        ArgumentNullException.ThrowIfNull(statistics);
        return new TensorCost(statistics.Weight, statistics.Rows, statistics.Columns, Enumerable.Range(0, statistics.Groups).Select(group =>
        {
            int first = group * statistics.GroupRows;
            return new CostTerm(first, statistics.Hessian(group).ToArray(), [.. Enumerable.Range(first, statistics.GroupRows).Select(statistics.RowFactor)]);
        }));
    }

    /// <summary>The cost of the output matrix, of the table of embeddings, or of both in one.</summary>
    /// <param name="name">The tensor.</param>
    /// <param name="head">What a gradient pass found.</param>
    /// <param name="isOutput">Whether logits are made of it.</param>
    /// <param name="isEmbedding">Whether tokens are looked up in it.</param>
    public static TensorCost Of(string name, HeadStatistics head, bool isOutput, bool isEmbedding)
    {
        ArgumentNullException.ThrowIfNull(head);
        List<CostTerm> terms = [];
        if (isOutput) terms.Add(new CostTerm(0, head.Hidden, head.Spread));
        if (isEmbedding) terms.Add(new CostTerm(0, head.Input, head.Shares));
        return new TensorCost(name, head.Spread.Length, head.Width, terms);
    }

    /// <summary>The Hessian that a group's rows are rounded with: the terms' own, weighted by their rows' mean weights.</summary>
    /// <param name="group">Which of <see cref="Groups"/>.</param>
    /// <returns>[columns x columns].</returns>
    public float[] Hessian(int group)
    {
        float[] sum = new float[Columns * Columns];
        foreach (CostTerm term in Terms)
        {
            if ((term.FirstRow, term.RowWeights.Length) != Groups[group]) continue;
            float weight = (float)term.RowWeights.Average(value => (double)value);
            for (int i = 0; i < sum.Length; i++)
                sum[i] += weight * term.Hessian[i];
        }

        return sum;
    }

    /// <summary>The same cost with every term multiplied.</summary>
    /// <param name="factors">[terms] factors.</param>
    public TensorCost Scaled(IReadOnlyList<double> factors)
    {
        ArgumentNullException.ThrowIfNull(factors);
        ArgumentOutOfRangeException.ThrowIfNotEqual(factors.Count, Terms.Length);
        return new TensorCost(Name, Rows, Columns, Terms.Select((term, i) => term with { RowWeights = [.. term.RowWeights.Select(weight => (float)(weight * factors[i]))] }), Matrices);
    }

    /// <summary>What values cost in the place of one matrix's weights.</summary>
    /// <param name="weights">[rows x columns].</param>
    /// <param name="values">[rows x columns].</param>
    public double Loss(float[] weights, float[] values) => TermLosses(weights, values).Sum();

    /// <summary>The parts of <see cref="Loss"/> that the terms give.</summary>
    /// <param name="weights">[rows x columns].</param>
    /// <param name="values">[rows x columns].</param>
    /// <returns>[terms].</returns>
    public unsafe double[] TermLosses(float[] weights, float[] values)
    {
        ArgumentNullException.ThrowIfNull(weights);
        ArgumentNullException.ThrowIfNull(values);
        if (weights.Length != (long)Rows * Columns || values.Length != weights.Length)
            throw new ArgumentException($"{weights.Length} weights and {values.Length} values of '{Name}' were given, which has {Rows} rows of {Columns}.", nameof(values));
        using NativeBuffer panels = new(MatrixProduct.PanelFloats(Columns, Columns) * sizeof(float), isZeroed: false);
        double[] losses = new double[Terms.Length];
        for (int t = 0; t < losses.Length; t++)
        {
            CostTerm term = Terms[t];
            fixed (float* hessian = term.Hessian)
                MatrixProduct.Pack(hessian, Columns, 1, Columns, Columns, (float*)panels.Pointer);
            double[] parts = new double[(term.RowWeights.Length + RowsAtOnce - 1) / RowsAtOnce];
            Work.For(parts.Length, part =>
            {
                int first = part * RowsAtOnce, count = Math.Min(RowsAtOnce, term.RowWeights.Length - first), start = (term.FirstRow + first) * Columns;
                float[] errors = new float[count * Columns], products = new float[count * Columns];
                for (int i = 0; i < errors.Length; i++)
                    errors[i] = values[start + i] - weights[start + i];
                fixed (float* error = errors, product = products)
                    MatrixProduct.Multiply(error, Columns, 1, count, (float*)panels.Pointer, Columns, Columns, Columns, product, Columns, add: false);
                double sum = 0;
                for (int row = 0; row < count; row++)
                {
                    double square = 0;
                    for (int i = row * Columns; i < (row + 1) * Columns; i++)
                        square += (double)errors[i] * products[i];
                    sum += term.RowWeights[first + row] * square;
                }

                parts[part] = sum;
            });
            losses[t] = parts.Sum() / 2;
        }

        return losses;
    }

    private const int RowsAtOnce = 64;
}
