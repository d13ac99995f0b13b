namespace Nibble.Core.Formats;

/// <summary>How encoders round and sum: the orders and rules that make their bytes equal to ggml's.</summary>
internal static class Rounding
{
    /// <summary>Below this magnitude ggml's searches take a group for zeros (<c>GROUP_MAX_EPS</c> of ggml-quants.c, llama.cpp v0.5.0).</summary>
    public const float Tiny = 1e-15f;

    /// <summary>The nearest integer, halves to even, within bounds; NaN gives the number nearest to zero within them.</summary>
    public static int Nearest(float value, int low, int high) => Math.Clamp((int)MathF.Round(value), low, high);

    /// <summary>
    /// Adds an offset and one half and cuts off, at most <paramref name="high"/>: how the 32-value formats round where there is no search. Infinity and NaN, which come of a scale below 2^-128
    /// that has no finite inverse, give 0: as f16 such a scale is 0.
    /// </summary>
    public static int HalfUp(float value, int offset, int high) => float.IsFinite(value) ? Math.Clamp((int)(value + (offset + 0.5f)), 0, high) : 0;

    /// <summary>The value of largest magnitude; the first of several, 0 of none.</summary>
    public static float Extreme(ReadOnlySpan<float> values)
    {
        float largest = 0, extreme = 0;
        foreach (float value in values)
        {
            float magnitude = MathF.Abs(value);
            if (magnitude > largest) (largest, extreme) = (magnitude, value);
        }

        return extreme;
    }

    /// <summary>The sum of squares in float32, from first to last.</summary>
    public static float SumOfSquares(ReadOnlySpan<float> values)
    {
        float sum = 0;
        foreach (float value in values) sum += value * value;
        return sum;
    }

    /// <summary>The sum in float32, from first to last.</summary>
    public static float Sum(ReadOnlySpan<float> values)
    {
        float sum = 0;
        foreach (float value in values) sum += value;
        return sum;
    }

    /// <summary>What an error at each value counts when there are importances: importance * sqrt(variance + value^2), llama.cpp's rule.</summary>
    /// <param name="values">[n] float32.</param>
    /// <param name="importance">[n] E[x^2] of the columns.</param>
    /// <param name="variance">The format's measure of the mean square around these values.</param>
    /// <param name="weights">[n] float32, overwritten.</param>
    public static void Weights(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, float variance, Span<float> weights)
    {
        for (int i = 0; i < values.Length; i++)
            weights[i] = importance[i] * MathF.Sqrt(variance + values[i] * values[i]);
    }

    /// <summary>What an error at each value counts where a format has no importances: its square.</summary>
    public static void Squares(ReadOnlySpan<float> values, Span<float> weights)
    {
        for (int i = 0; i < values.Length; i++)
            weights[i] = values[i] * values[i];
    }
}
