namespace Nibble.Quantize.Methods;

/// <summary>Factors of symmetric positive definite matrices in double precision, row by row so that all inner loops run along rows.</summary>
internal static class SymmetricMatrix
{
    /// <summary>Replaces a matrix by its lower Cholesky factor L, L Lᵀ being the matrix; zeros above the diagonal.</summary>
    /// <param name="matrix">[size x size]; only its lower triangle is read.</param>
    /// <param name="size">Rows and columns.</param>
    /// <returns>False where the matrix is not positive definite; the contents are then of no use.</returns>
    public static bool TryCholesky(double[] matrix, int size)
    {
        for (int j = 0; j < size; j++)
        {
            Span<double> row = matrix.AsSpan(j * size, size);
            double pivot = row[j] - Rows.Dot(row[..j], row[..j]);
            if (!(pivot > 0) || !double.IsFinite(pivot))
                return false;
            double root = Math.Sqrt(pivot);
            row[j] = root;
            row[(j + 1)..].Clear();
            int done = j;
            Parallel.For(0, (size - j - 1 + 63) / 64, part =>
            {
                int first = done + 1 + (part * 64), end = Math.Min(size, first + 64);
                ReadOnlySpan<double> left = matrix.AsSpan(done * size, done);
                for (int i = first; i < end; i++)
                    matrix[(i * size) + done] = (matrix[(i * size) + done] - Rows.Dot(matrix.AsSpan(i * size, done), left)) / root;
            });
        }

        return true;
    }

    /// <summary>The inverse of a lower triangular matrix.</summary>
    /// <param name="lower">[size x size], its diagonal without zeros.</param>
    /// <param name="size">Rows and columns.</param>
    public static double[] InvertLower(double[] lower, int size)
    {
        double[] inverse = new double[size * size];
        for (int i = 0; i < size; i++)
        {
            Span<double> target = inverse.AsSpan(i * size, i + 1);
            for (int k = 0; k < i; k++)
                Rows.Add<double>(inverse.AsSpan(k * size, k + 1), -lower[(i * size) + k], target[..(k + 1)]);
            double scale = 1 / lower[(i * size) + i];
            for (int j = 0; j < i; j++)
                target[j] *= scale;
            target[i] = scale;
        }

        return inverse;
    }
}
