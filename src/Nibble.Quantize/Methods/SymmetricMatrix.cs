namespace Nibble.Quantize.Methods;

/// <summary>Factors of symmetric positive definite matrices in double precision, row by row so that all inner loops run along rows.</summary>
internal static class SymmetricMatrix
{
    // Columns whose earlier ones are subtracted in one go, rows that a thread takes, and columns of the inverse that it takes.
    private const int Block = 64, PartRows = 16, Stripe = 64;

    /// <summary>Replaces a matrix by its lower Cholesky factor L, L Lᵀ being the matrix; zeros above the diagonal.</summary>
    /// <param name="matrix">[size x size]; only its lower triangle is read.</param>
    /// <param name="size">Rows and columns.</param>
    /// <returns>False where the matrix is not positive definite; the contents are then of no use.</returns>
    public static bool TryCholesky(double[] matrix, int size)
    {
        for (int start = 0; start < size; start += Block)
        {
            int first = start, end = Math.Min(size, start + Block);
            Work.For((size - first + PartRows - 1) / PartRows, part =>
            {
                int from = first + (part * PartRows);
                for (int i = from; i < Math.Min(size, from + PartRows); i++)
                    for (int j = first; j < Math.Min(end, i + 1); j++)
                        matrix[(i * size) + j] -= Rows.Dot(matrix.AsSpan(i * size, first), matrix.AsSpan(j * size, first));
            });
            for (int j = first; j < end; j++)
            {
                double pivot = Reduced(matrix, size, first, j, j);
                if (!(pivot > 0) || !double.IsFinite(pivot))
                    return false;
                matrix[(j * size) + j] = Math.Sqrt(pivot);
                for (int i = j + 1; i < end; i++)
                    matrix[(i * size) + j] = Reduced(matrix, size, first, i, j) / matrix[(j * size) + j];
            }

            Work.For((size - end + PartRows - 1) / PartRows, part =>
            {
                int from = end + (part * PartRows);
                for (int i = from; i < Math.Min(size, from + PartRows); i++)
                    for (int j = first; j < end; j++)
                        matrix[(i * size) + j] = Reduced(matrix, size, first, i, j) / matrix[(j * size) + j];
            });
        }

        for (int i = 0; i < size; i++)
            matrix.AsSpan((i * size) + i + 1, size - i - 1).Clear();
        return true;
    }

    /// <summary>The inverse of a lower triangular matrix.</summary>
    /// <param name="lower">[size x size], its diagonal without zeros.</param>
    /// <param name="size">Rows and columns.</param>
    public static double[] InvertLower(double[] lower, int size)
    {
        double[] inverse = new double[size * size];
        Work.For((size + Stripe - 1) / Stripe, stripe =>
        {
            int first = stripe * Stripe, end = Math.Min(size, first + Stripe);
            for (int i = first; i < size; i++)
            {
                Span<double> target = inverse.AsSpan((i * size) + first, Math.Min(end, i + 1) - first);
                for (int k = first; k < i; k++)
                {
                    int count = Math.Min(end, k + 1) - first;
                    Rows.Add<double>(inverse.AsSpan((k * size) + first, count), -lower[(i * size) + k], target[..count]);
                }

                double scale = 1 / lower[(i * size) + i];
                for (int j = first; j < Math.Min(end, i); j++)
                    target[j - first] *= scale;
                if (i < end) target[i - first] = scale;
            }
        });
        return inverse;
    }

    // What is left of an element when the columns of its block before it are subtracted.
    private static double Reduced(double[] matrix, int size, int first, int i, int j) =>
        matrix[(i * size) + j] - Rows.Dot(matrix.AsSpan((i * size) + first, j - first), matrix.AsSpan((j * size) + first, j - first));
}
