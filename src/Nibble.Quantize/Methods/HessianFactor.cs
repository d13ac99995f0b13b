using System.Globalization;

namespace Nibble.Quantize.Methods;

/// <summary>What GPTQ spreads its errors with: the upper Cholesky factor U of inv(H + damp·mean(diag H)·I), UᵀU being that inverse, columns taken in an order of its own (Frantar et al. 2022, section 3.3).</summary>
public sealed class HessianFactor
{
    /// <summary>The most columns: U and what it is made of are held in one piece each.</summary>
    public const int MostColumns = 32768;

    private const int Attempts = 5;

    private readonly double[] _upper;

    private HessianFactor(double[] upper, int[] order, double damp)
    {
        _upper = upper;
        Order = order;
        Damp = damp;
    }

    /// <summary>Columns.</summary>
    public int Columns => Order.Count;

    /// <summary>The column that is rounded at each place.</summary>
    public IReadOnlyList<int> Order { get; }

    /// <summary>The damping that was used, a share of the mean of the diagonal: at least the one asked for, ten times as much after every failed attempt.</summary>
    public double Damp { get; }

    /// <summary>Row <paramref name="place"/> of U: [columns], zero left of the diagonal.</summary>
    /// <param name="place">The row, in the factor's own order.</param>
    public ReadOnlySpan<double> Row(int place) => _upper.AsSpan(place * Columns, Columns);

    /// <summary>Factors a Hessian.</summary>
    /// <param name="hessian">[columns x columns], symmetric.</param>
    /// <param name="columns">Columns.</param>
    /// <param name="damp">What is added to the diagonal, as a share of its mean; 0.01 is usual.</param>
    /// <param name="sort">Whether columns come in descending order of the diagonal (act-order); equal ones stay as they are.</param>
    /// <exception cref="ArgumentException">The sizes do not agree, or the damping is no number from 0 up.</exception>
    /// <exception cref="HessianException">There are more than <see cref="MostColumns"/>, a value is no finite number, a diagonal is negative, or no damping up to 10 000 times the one asked for helps.</exception>
    public static HessianFactor Create(ReadOnlySpan<float> hessian, int columns, double damp, bool sort)
    {
        if (columns > MostColumns)
            throw new HessianException($"The Hessian has {columns} columns; errors are made up for in at most {MostColumns}: round this tensor by a method that looks at no activations (--tensor).");
        if (columns <= 0 || hessian.Length != (long)columns * columns)
            throw new ArgumentException($"A Hessian of {columns} columns needs {(long)columns * columns} values, not {hessian.Length}.", nameof(hessian));
        if (!double.IsFinite(damp) || damp < 0)
            throw new ArgumentException($"The damping is {damp.ToString(CultureInfo.InvariantCulture)}; it must be a finite number from 0 up, such as 0.01.", nameof(damp));
        double mean = Check(hessian, columns);
        int[] order = [.. Enumerable.Range(0, columns)];
        if (sort)
        {
            float[] diagonal = new float[columns];
            for (int i = 0; i < columns; i++)
                diagonal[i] = hessian[(i * columns) + i];
            order = [.. order.OrderByDescending(i => diagonal[i])];
        }

        double tried = damp;
        for (int attempt = 0; attempt < Attempts; attempt++)
        {
            // Taken backwards, H = L Lᵀ gives inv(H) = (L⁻¹)ᵀ L⁻¹, and L⁻¹ turned by 180 degrees is the upper factor.
            double[] lower = new double[columns * columns];
            for (int i = 0; i < columns; i++)
            {
                for (int j = 0; j < columns; j++)
                    lower[(i * columns) + j] = hessian[(order[columns - 1 - i] * columns) + order[columns - 1 - j]];
                lower[(i * columns) + i] += tried * mean;
            }

            if (SymmetricMatrix.TryCholesky(lower, columns))
            {
                double[] upper = SymmetricMatrix.InvertLower(lower, columns);
                Array.Reverse(upper);
                return new HessianFactor(upper, order, tried);
            }

            tried = tried == 0 ? 1e-4 : tried * 10;
        }

        throw new HessianException($"The Hessian of {columns} columns is not positive definite, not even with {(tried / 10).ToString(CultureInfo.InvariantCulture)} of the mean of its diagonal added: calibrate with more text.");
    }

    /// <summary>Checks that a row's values are finite.</summary>
    /// <param name="values">Some columns of a row.</param>
    /// <param name="row">The row.</param>
    /// <param name="first">The first of the columns.</param>
    /// <exception cref="HessianException">One is not.</exception>
    internal static void CheckRow(ReadOnlySpan<float> values, int row, int first = 0)
    {
        for (int j = 0; j < values.Length; j++)
            if (!float.IsFinite(values[j]))
                throw new HessianException($"The Hessian holds {values[j].ToString(CultureInfo.InvariantCulture)} in row {row}, column {first + j}; all its values must be finite: look for what the calibration text makes overflow.");
    }

    private static double Check(ReadOnlySpan<float> hessian, int columns)
    {
        double sum = 0;
        for (int i = 0; i < columns; i++)
        {
            ReadOnlySpan<float> row = hessian.Slice(i * columns, columns);
            CheckRow(row, i);
            if (row[i] < 0)
                throw new HessianException($"The Hessian's diagonal is {row[i].ToString(CultureInfo.InvariantCulture)} in column {i}; a sum of squares is 0 at least.");
            sum += row[i];
        }

        return sum == 0 ? throw new HessianException($"The Hessian's diagonal is 0 in all {columns} columns: no input has reached this layer; calibrate with more text.") : sum / columns;
    }
}
