using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Methods;

/// <summary>
/// A layer's H = S x xᵀ, by which an error δ of a row of weights costs ½ δ H δᵀ, with the factors that rounding needs, each computed when it is first asked for. H may come from anywhere: inputs of a layer, or the same weighted by
/// squared gradients; rows of one matrix may have different ones.
/// </summary>
public sealed class LayerHessian
{
    // What is added to the diagonal of a group's own part of H, as a share of the mean diagonal.
    private const double GroupDamp = 1e-5;

    private readonly double _damp;
    private readonly Lazy<Spreading> _spread;
    private readonly Dictionary<int, GroupFactors> _groups = [];
    private readonly Dictionary<int, HessianPieces> _pieces = [];

    /// <summary>Takes a Hessian in.</summary>
    /// <param name="values">[columns x columns], symmetric; it is used where it is and must not change.</param>
    /// <param name="columns">Columns.</param>
    /// <param name="damp">See <see cref="HessianFactor.Create"/>.</param>
    /// <param name="sort">See <see cref="HessianFactor.Create"/>.</param>
    /// <exception cref="ArgumentException">The sizes do not agree.</exception>
    public LayerHessian(float[] values, int columns, double damp = 0.01, bool sort = true)
    {
        ArgumentNullException.ThrowIfNull(values);
        if (columns <= 0 || values.Length != (long)columns * columns)
            throw new ArgumentException($"A Hessian of {columns} columns needs {(long)columns * columns} values, not {values.Length}.", nameof(values));
        (Values, Columns, _damp) = (values, columns, damp);
        _spread = new(() => Spread(HessianFactor.Create(values, columns, damp, sort)));
    }

    /// <summary>[columns x columns].</summary>
    public float[] Values { get; }

    /// <summary>Columns.</summary>
    public int Columns { get; }

    /// <summary>The column that is rounded at each place.</summary>
    /// <exception cref="HessianException">There is no factor: see <see cref="HessianFactor.Create"/>.</exception>
    public IReadOnlyList<int> Order => _spread.Value.Order;

    /// <summary>[columns] what an error in a column costs when later columns make up for it: 1/U²ⱼⱼ.</summary>
    public float[] Importance => _spread.Value.Importance;

    /// <summary>[columns x columns] U in float32, rows and columns in the factor's order.</summary>
    internal float[] Upper => _spread.Value.Upper;

    /// <summary>The Hessian of what a set of weights reads.</summary>
    /// <param name="statistics">Statistics with Hessians.</param>
    /// <param name="matrix">0, or the expert.</param>
    /// <param name="damp">See <see cref="HessianFactor.Create"/>.</param>
    /// <param name="sort">See <see cref="HessianFactor.Create"/>.</param>
    /// <exception cref="InvalidOperationException">No Hessian was collected.</exception>
    /// <exception cref="HessianException">The matrix is too large to be held in one piece, or a value is no finite number.</exception>
    public static LayerHessian Of(ActivationStatistics statistics, int matrix, double damp = 0.01, bool sort = true)
    {
        ArgumentNullException.ThrowIfNull(statistics);
        int columns = statistics.Columns;
        if (columns > HessianFactor.MostColumns)
            throw new HessianException($"'{statistics.Weights[0]}' has {columns} columns; errors are made up for in at most {HessianFactor.MostColumns}: round it by a method that looks at no activations (--tensor).");
        float[] values = new float[columns * columns];
        for (int row = 0; row < columns; row++)
        {
            ReadOnlySpan<float> source = statistics.HessianRow(matrix, row);
            HessianFactor.CheckRow(source, row);
            source.CopyTo(values.AsSpan(row * columns, columns));
        }

        return new LayerHessian(values, columns, damp, sort);
    }

    /// <summary>½ S δ H δᵀ over the rows of δ = values − weights.</summary>
    /// <param name="weights">[rows x columns].</param>
    /// <param name="values">[rows x columns].</param>
    public double Loss(ReadOnlySpan<float> weights, ReadOnlySpan<float> values)
    {
        if (weights.Length != values.Length || weights.Length % Columns != 0)
            throw new ArgumentException($"{weights.Length} weights and {values.Length} values are not the same whole rows of {Columns} columns.", nameof(values));
        float[] error = new float[Columns], gradient = new float[Columns];
        double sum = 0;
        for (int start = 0; start < weights.Length; start += Columns)
        {
            for (int i = 0; i < Columns; i++)
                error[i] = values[start + i] - weights[start + i];
            Multiply(error, gradient);
            sum += Dot(error, gradient);
        }

        return sum / 2;
    }

    /// <summary>product = H · vector.</summary>
    /// <param name="vector">[columns].</param>
    /// <param name="product">[columns], overwritten.</param>
    internal void Multiply(ReadOnlySpan<float> vector, Span<float> product)
    {
        product.Clear();
        for (int i = 0; i < vector.Length; i++)
            if (vector[i] != 0) Rows.Add(Row(i), vector[i], product);
    }

    /// <summary>A row of H.</summary>
    internal ReadOnlySpan<float> Row(int row) => Values.AsSpan(row * Columns, Columns);

    /// <summary>The parts of H that belong to groups of columns, inverted.</summary>
    /// <param name="size">Columns of a group; it divides the columns.</param>
    /// <exception cref="HessianException">There is no factor: see <see cref="HessianFactor.Create"/>.</exception>
    internal GroupFactors Groups(int size)
    {
        // Where the whole needs more damping than was asked for, its parts may need as much.
        double damp = _spread.Value.Damp > _damp ? _spread.Value.Damp : GroupDamp;
        lock (_groups)
        {
            if (!_groups.TryGetValue(size, out GroupFactors? factors))
                _groups[size] = factors = GroupFactors.Create(Values, Columns, size, damp);
            return factors;
        }
    }

    /// <summary>The parts of H that belong to pieces of the columns.</summary>
    /// <param name="size">Columns of a piece; the last may have fewer.</param>
    internal HessianPieces Pieces(int size)
    {
        lock (_pieces)
        {
            if (!_pieces.TryGetValue(size, out HessianPieces? pieces))
                _pieces[size] = pieces = HessianPieces.Of(Values, Columns, size);
            return pieces;
        }
    }

    internal static double Dot(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        double sum = 0;
        for (int i = 0; i < a.Length; i++)
            sum += (double)a[i] * b[i];
        return sum;
    }

    // The factor itself, in double precision, is not kept.
    private Spreading Spread(HessianFactor factor)
    {
        float[] upper = new float[Columns * Columns], importance = new float[Columns];
        for (int place = 0; place < Columns; place++)
        {
            ReadOnlySpan<double> row = factor.Row(place);
            for (int j = place; j < Columns; j++)
                upper[(place * Columns) + j] = (float)row[j];
            importance[factor.Order[place]] = (float)(1 / (row[place] * row[place]));
        }

        return new Spreading([.. factor.Order], upper, importance, factor.Damp);
    }

    private sealed record Spreading(int[] Order, float[] Upper, float[] Importance, double Damp);
}

/// <summary>The diagonal blocks of a Hessian, each by itself, so that one fits into a cache.</summary>
/// <param name="Size">Columns of a piece; the last may have fewer.</param>
/// <param name="Columns">Columns of the Hessian.</param>
/// <param name="Values">[pieces x size x size].</param>
internal sealed record HessianPieces(int Size, int Columns, float[] Values)
{
    /// <summary>Cuts.</summary>
    public static HessianPieces Of(float[] hessian, int columns, int size)
    {
        float[] values = new float[columns * size];
        for (int start = 0; start < columns; start += size)
        {
            int own = Math.Min(size, columns - start);
            for (int i = 0; i < own; i++)
                hessian.AsSpan(((start + i) * columns) + start, own).CopyTo(values.AsSpan((start * size) + (i * own), own));
        }

        return new HessianPieces(size, columns, values);
    }

    /// <summary>The piece that begins at a column.</summary>
    /// <returns>[its columns x its columns].</returns>
    public ReadOnlySpan<float> Of(int start)
    {
        int own = Math.Min(Size, Columns - start);
        return Values.AsSpan(start * Size, own * own);
    }
}

/// <summary>For each group of columns the inverse of its own part of H, and that inverse's upper Cholesky factor.</summary>
/// <param name="Size">Columns of a group.</param>
/// <param name="Inverse">[groups x size x size].</param>
/// <param name="Upper">[groups x size x size].</param>
internal sealed record GroupFactors(int Size, float[] Inverse, float[] Upper)
{
    /// <summary>Inverts.</summary>
    /// <param name="hessian">[columns x columns].</param>
    /// <param name="columns">Columns.</param>
    /// <param name="size">Columns of a group.</param>
    /// <param name="damp">What is added to the diagonal, as a share of its mean.</param>
    /// <exception cref="HessianException">A part is not positive definite.</exception>
    public static GroupFactors Create(float[] hessian, int columns, int size, double damp)
    {
        double mean = 0;
        for (int i = 0; i < columns; i++)
            mean += (double)hessian[(i * columns) + i] / columns;
        float[] inverse = new float[columns * size], upper = new float[columns * size];
        Work.For(columns / size, group =>
        {
            float[] part = new float[size * size];
            for (int i = 0; i < size; i++)
                hessian.AsSpan((((group * size) + i) * columns) + (group * size), size).CopyTo(part.AsSpan(i * size, size));

            // The same damping in the group's own terms: its mean may be far from the whole one's.
            double own = 0;
            for (int i = 0; i < size; i++)
                own += (double)part[(i * size) + i] / size;
            if (own == 0)
            {
                // No input has reached these columns: any values do, and the nearest are as good as others.
                for (int i = 0; i < size; i++)
                    part[(i * size) + i] = (float)mean;
                own = mean;
            }

            HessianFactor factor = HessianFactor.Create(part, size, damp * mean / own, sort: false);
            Span<float> target = upper.AsSpan(group * size * size, size * size), product = inverse.AsSpan(group * size * size, size * size);
            for (int place = 0; place < size; place++)
            {
                ReadOnlySpan<double> row = factor.Row(place);
                for (int i = 0; i < size; i++)
                {
                    target[(place * size) + i] = (float)row[i];
                    for (int j = 0; j < size; j++)
                        product[(i * size) + j] += (float)(row[i] * row[j]);
                }
            }
        });
        return new GroupFactors(size, inverse, upper);
    }
}
