namespace Nibble.Core.Formats;

/// <summary>The inverse scales that a search tries: (first + step * i + largest code) / range, for i from 0 to <paramref name="Last"/>.</summary>
internal readonly record struct ScaleTrials(float First, float Step, int Last);

/// <summary>Searches for scale and minimum of a group, value = scale * code - min, min not negative. Trials and order of sums are those of <c>make_qkx2_quants</c> and <c>make_qkx3_quants</c> in ggml-quants.c, llama.cpp v0.5.0.</summary>
internal static class ScaleAndMinSearch
{
    /// <summary>What formats try when there are importances.</summary>
    public static readonly ScaleTrials WithImportance = new(-0.9f, 0.05f, 36);

    /// <summary>Rounds values from the smallest (or 0) to the largest by each trial's scale, refits scale and minimum by least squares to the codes, and keeps what leaves the smallest error. A trial starts at the best minimum so far.</summary>
    /// <param name="values">[n] float32.</param>
    /// <param name="weights">[n] what an error counts.</param>
    /// <param name="maxCode">Codes lie in 0 to maxCode.</param>
    /// <param name="trials">What to try.</param>
    /// <param name="isAbsolute">Whether the error is S(w |e|) in place of S(w e^2).</param>
    /// <param name="codes">[n] overwritten.</param>
    /// <returns>The scale and what is subtracted.</returns>
    public static (float Scale, float Min) Find(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, int maxCode, ScaleTrials trials, bool isAbsolute, Span<byte> codes)
    {
        float low = values[0], high = values[0], sumW = weights[0], sumX = sumW * values[0];
        for (int i = 1; i < values.Length; i++)
        {
            low = MathF.Min(low, values[i]);
            high = MathF.Max(high, values[i]);
            sumW += weights[i];
            sumX += weights[i] * values[i];
        }

        low = MathF.Min(low, 0);
        if (high == low)
        {
            codes.Clear();
            return (0, -low);
        }

        float inverse = maxCode / (high - low), scale = 1 / inverse;
        Round(values, inverse, low, maxCode, codes);
        float leastError = Error(values, weights, codes, scale, low, isAbsolute);
        Span<byte> tried = stackalloc byte[values.Length];
        for (int trial = 0; trial <= trials.Last; trial++)
        {
            inverse = (trials.First + trials.Step * trial + maxCode) / (high - low);
            Round(values, inverse, low, maxCode, tried);
            float sumQ = 0, sumQ2 = 0, sumXQ = 0;
            for (int i = 0; i < values.Length; i++)
            {
                int code = tried[i];
                float weighted = weights[i] * code;
                sumQ += weighted;
                sumQ2 += weighted * code;
                sumXQ += weighted * values[i];
            }

            float determinant = sumW * sumQ2 - sumQ * sumQ;
            if (!(determinant > 0)) continue;
            float newScale = (sumW * sumXQ - sumX * sumQ) / determinant, newLow = (sumQ2 * sumX - sumQ * sumXQ) / determinant;
            if (newLow > 0) (newScale, newLow) = (sumXQ / sumQ2, 0);
            float error = Error(values, weights, tried, newScale, newLow, isAbsolute);
            if (!(error < leastError)) continue;
            tried.CopyTo(codes);
            (leastError, scale, low) = (error, newScale, newLow);
        }

        return (scale, -low);
    }

    private static void Round(ReadOnlySpan<float> values, float inverse, float low, int maxCode, Span<byte> codes)
    {
        for (int i = 0; i < values.Length; i++)
            codes[i] = (byte)Rounding.Nearest(inverse * (values[i] - low), 0, maxCode);
    }

    private static float Error(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, ReadOnlySpan<byte> codes, float scale, float low, bool isAbsolute)
    {
        float error = 0;
        for (int i = 0; i < values.Length; i++)
        {
            float difference = scale * codes[i] + low - values[i];
            error += weights[i] * (isAbsolute ? MathF.Abs(difference) : difference * difference);
        }

        return error;
    }
}
