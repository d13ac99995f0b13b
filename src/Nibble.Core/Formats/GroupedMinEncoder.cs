namespace Nibble.Core.Formats;

/// <summary>What Q2_K, Q4_K and Q5_K differ in when they are encoded.</summary>
/// <param name="GroupValues">Values with one scale and one minimum.</param>
/// <param name="MaxCode">The largest code of a value.</param>
/// <param name="MaxScale">The largest code of a scale or a minimum.</param>
/// <param name="Trials">What the search tries without importances.</param>
/// <param name="IsAbsolute">Whether that search weighs absolute errors by magnitude; else squared errors by magnitude + root mean square of the group.</param>
/// <param name="VarianceFactor">With importances: times the mean square of the block is the variance of <see cref="Rounding.Weights"/>.</param>
internal readonly record struct GroupedMinShape(int GroupValues, int MaxCode, int MaxScale, ScaleTrials Trials, bool IsAbsolute, float VarianceFactor)
{
    /// <summary>Groups in a block of 256.</summary>
    public int Groups => 256 / GroupValues;
}

/// <summary>Encodes 256 values in groups that have a scale and a minimum each, both codes themselves: what Q2_K, Q4_K and Q5_K share. Source of the order: ggml-quants.c, llama.cpp v0.5.0.</summary>
internal static class GroupedMinEncoder
{
    /// <summary>Encodes one block.</summary>
    /// <param name="values">[256] float32.</param>
    /// <param name="importance">[256] E[x^2] of the columns, or empty.</param>
    /// <param name="shape">The format.</param>
    /// <param name="codes">[256] overwritten.</param>
    /// <param name="scales">[groups] codes of the scales, overwritten.</param>
    /// <param name="mins">[groups] codes of the minima, overwritten.</param>
    /// <returns>d and dmin.</returns>
    public static (Half D, Half Dmin) Encode(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, GroupedMinShape shape, Span<byte> codes, Span<byte> scales, Span<byte> mins)
    {
        int size = shape.GroupValues;
        Span<float> weights = stackalloc float[size];
        Span<float> groupScales = stackalloc float[shape.Groups], groupMins = stackalloc float[shape.Groups], groupWeights = stackalloc float[shape.Groups];
        float variance = shape.VarianceFactor * Rounding.SumOfSquares(values) / 256;
        for (int group = 0; group < shape.Groups; group++)
        {
            ReadOnlySpan<float> x = values.Slice(group * size, size);
            if (importance.IsEmpty) PlainWeights(x, shape.IsAbsolute, weights);
            else Rounding.Weights(x, importance.Slice(group * size, size), variance, weights);
            groupWeights[group] = Rounding.Sum(weights);
            (groupScales[group], groupMins[group]) = importance.IsEmpty
                ? ScaleAndMinSearch.Find(x, weights, shape.MaxCode, shape.Trials, shape.IsAbsolute, codes.Slice(group * size, size))
                : ScaleAndMinSearch.Find(x, weights, shape.MaxCode, ScaleAndMinSearch.WithImportance, isAbsolute: false, codes.Slice(group * size, size));
        }

        float d, dmin;
        if (importance.IsEmpty)
        {
            d = ByLargest(groupScales, shape.MaxScale, scales);
            dmin = ByLargest(groupMins, shape.MaxScale, mins);
        }
        else
        {
            d = ScaleSearch.Positive(groupScales, groupWeights, shape.MaxScale, scales);
            dmin = ScaleSearch.Positive(groupMins, groupWeights, shape.MaxScale, mins);
        }

        (Half D, Half Dmin) rounded = (HalfConversion.ToHalf(d), HalfConversion.ToHalf(dmin));
        for (int group = 0; group < shape.Groups; group++)
            RoundGroup(values.Slice(group * size, size), (float)rounded.D * scales[group], (float)rounded.Dmin * mins[group], shape.MaxCode, codes.Slice(group * size, size));
        return rounded;
    }

    /// <summary>The codes nearest to values by the scale and minimum that the file will hold. Where that scale is 0 the codes do not matter, and stay as they are.</summary>
    public static void RoundGroup(ReadOnlySpan<float> values, float scale, float min, int maxCode, Span<byte> codes)
    {
        if (scale == 0) return;
        for (int i = 0; i < values.Length; i++)
            codes[i] = (byte)Rounding.Nearest((values[i] + min) / scale, 0, maxCode);
    }

    private static void PlainWeights(ReadOnlySpan<float> values, bool isAbsolute, Span<float> weights)
    {
        float rootMeanSquare = isAbsolute ? 0 : MathF.Sqrt(Rounding.SumOfSquares(values) / values.Length);
        for (int i = 0; i < values.Length; i++)
            weights[i] = rootMeanSquare + MathF.Abs(values[i]);
    }

    // The largest gets the largest code.
    private static float ByLargest(ReadOnlySpan<float> values, int maxCode, Span<byte> codes)
    {
        float largest = 0;
        foreach (float value in values) largest = MathF.Max(largest, value);
        float inverse = largest > 0 ? maxCode / largest : 0;
        for (int i = 0; i < values.Length; i++)
            codes[i] = (byte)Rounding.Nearest(inverse * values[i], 0, maxCode);
        return largest / maxCode;
    }
}
