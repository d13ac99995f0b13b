namespace Nibble.Core.Formats;

/// <summary>
/// Searches for the scale of a group of values, value = scale * code, that leaves the least weighted squared error. The best scale for given codes is S(w x q) / S(w q^2), and the error it
/// leaves falls as S(w x q)^2 / S(w q^2) grows. Trials and order of sums are those of <c>make_qx_quants</c>, <c>make_q3_quants</c> and <c>make_qp_quants</c> in ggml-quants.c, llama.cpp v0.5.0.
/// </summary>
internal static class ScaleSearch
{
    /// <summary>Tries 19 scales around the one that gives the value of largest magnitude the code -<paramref name="bound"/>.</summary>
    /// <param name="values">[n] float32.</param>
    /// <param name="weights">[n] what an error counts.</param>
    /// <param name="bound">Codes lie in -bound to bound - 1.</param>
    /// <param name="codes">[n] code + bound, overwritten; all 0 where the values are zeros.</param>
    /// <returns>The scale.</returns>
    public static float Signed(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, int bound, Span<byte> codes)
    {
        float extreme = Rounding.Extreme(values);
        if (MathF.Abs(extreme) < Rounding.Tiny)
        {
            codes.Clear();
            return 0;
        }

        float inverse = -bound / extreme, bestInverse = inverse;
        (float cross, float square) = Sums(values, weights, inverse, bound);
        float scale = square == 0 ? 0 : cross / square, best = scale * cross;
        for (int trial = -9; trial <= 9; trial++)
        {
            if (trial == 0) continue;
            inverse = -(bound + 0.1f * trial) / extreme;
            (cross, square) = Sums(values, weights, inverse, bound);
            if (!(square > 0 && cross * cross > best * square)) continue;
            scale = cross / square;
            best = scale * cross;
            bestInverse = inverse;
        }

        for (int i = 0; i < values.Length; i++)
            codes[i] = (byte)(Rounding.Nearest(bestInverse * values[i], -bound, bound - 1) + bound);
        return scale;
    }

    /// <summary>Starts at the scale that gives the value of largest magnitude the code -<paramref name="bound"/>, then moves single codes while that helps, 5 times at most; an error counts by the square of the value.</summary>
    /// <inheritdoc cref="Signed" path="/param"/>
    /// <returns>The scale.</returns>
    public static float SignedBySteps(ReadOnlySpan<float> values, int bound, Span<byte> codes)
    {
        float extreme = Rounding.Extreme(values);
        if (MathF.Abs(extreme) < Rounding.Tiny)
        {
            codes.Clear();
            return 0;
        }

        float inverse = -bound / extreme, cross = 0, square = 0;
        for (int i = 0; i < values.Length; i++)
        {
            float weight = values[i] * values[i];
            int code = Rounding.Nearest(inverse * values[i], -bound, bound - 1);
            codes[i] = (byte)(code + bound);
            cross += weight * values[i] * code;
            square += weight * code * code;
        }

        bool isChanged = true;
        for (int pass = 0; pass < 5 && isChanged; pass++)
        {
            isChanged = false;
            for (int i = 0; i < values.Length; i++)
            {
                float weight = values[i] * values[i];
                int code = codes[i] - bound;
                float crossWithout = cross - weight * values[i] * code;
                if (!(crossWithout > 0)) continue;
                float squareWithout = square - weight * code * code;
                int changed = Rounding.Nearest(values[i] * squareWithout / crossWithout, -bound, bound - 1);
                if (changed == code) continue;
                float newCross = crossWithout + weight * values[i] * changed, newSquare = squareWithout + weight * changed * changed;
                if (!(newSquare > 0 && newCross * newCross * square > cross * cross * newSquare)) continue;
                codes[i] = (byte)(changed + bound);
                (cross, square, isChanged) = (newCross, newSquare, true);
            }
        }

        return square > 0 ? cross / square : 0;
    }

    /// <summary>For values that are not negative: tries 9 scales around largest / <paramref name="maxCode"/>, then moves single codes while that helps, 5 times at most.</summary>
    /// <param name="values">[n] float32, none below 0.</param>
    /// <param name="weights">[n] what an error counts.</param>
    /// <param name="maxCode">Codes lie in 0 to maxCode.</param>
    /// <param name="codes">[n] overwritten.</param>
    /// <returns>The scale.</returns>
    public static float Positive(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, int maxCode, Span<byte> codes)
    {
        float largest = 0;
        foreach (float value in values) largest = MathF.Max(largest, value);
        if (largest < Rounding.Tiny)
        {
            codes.Clear();
            return 0;
        }

        float inverse = maxCode / largest, leastError = Error(values, weights, inverse, maxCode);
        for (int trial = -4; trial <= 4; trial++)
        {
            if (trial == 0) continue;
            float tried = (0.1f * trial + maxCode) / largest, error = Error(values, weights, tried, maxCode);
            if (error < leastError) (leastError, inverse) = (error, tried);
        }

        float cross = 0, square = 0;
        for (int i = 0; i < values.Length; i++)
        {
            int code = Rounding.Nearest(inverse * values[i], 0, maxCode);
            codes[i] = (byte)code;
            cross += weights[i] * values[i] * code;
            square += weights[i] * code * code;
        }

        bool isChanged = true;
        for (int pass = 0; pass < 5 && isChanged; pass++)
        {
            isChanged = false;
            for (int i = 0; i < values.Length; i++)
            {
                float weight = weights[i];
                int code = codes[i];
                float crossWithout = cross - weight * values[i] * code, squareWithout = square - weight * code * code;
                if (!(crossWithout > 0 && squareWithout > 0)) continue;
                int changed = Rounding.Nearest(values[i] * squareWithout / crossWithout, 0, maxCode);
                if (changed == code) continue;
                float newCross = crossWithout + weight * values[i] * changed, newSquare = squareWithout + weight * changed * changed;
                if (!(newCross * newCross * square > cross * cross * newSquare)) continue;
                codes[i] = (byte)changed;
                (cross, square, isChanged) = (newCross, newSquare, true);
            }
        }

        return square > 0 ? cross / square : 0;
    }

    // S(w x q) and S(w q^2) of the codes that an inverse scale gives.
    private static (float Cross, float Square) Sums(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, float inverse, int bound)
    {
        float cross = 0, square = 0;
        for (int i = 0; i < values.Length; i++)
        {
            int code = Rounding.Nearest(inverse * values[i], -bound, bound - 1);
            cross += weights[i] * values[i] * code;
            square += weights[i] * code * code;
        }

        return (cross, square);
    }

    private static float Error(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, float inverse, int maxCode)
    {
        float scale = 1 / inverse, error = 0;
        for (int i = 0; i < values.Length; i++)
        {
            float difference = values[i] - scale * Rounding.Nearest(inverse * values[i], 0, maxCode);
            error += weights[i] * difference * difference;
        }

        return error;
    }
}
