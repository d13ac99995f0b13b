namespace Nibble.Core.Compute;

/// <summary>
/// How activations are rounded for a weight with an <see cref="IWeightSource.InputScale"/>: to the nearest whole multiple of it, of at most <see cref="Most"/> to either side. Every backend comes to the same whole numbers.
/// </summary>
/// <remarks>The static ranges of 8-bit inference, for example Jacob et al., arXiv 1712.05877; symmetric, since what linear layers read lies around 0.</remarks>
public static class InputRounding
{
    /// <summary>The greatest multiple; what is larger is clipped to it.</summary>
    public const int Most = 127;

    /// <summary>The bounds of a scale, 2^-100 and 2^40: products keep their place in float32.</summary>
    public const float LeastScale = 7.8886090522101181e-31f, MostScale = 1099511627776f;

    /// <summary>Whether a number can be a scale.</summary>
    /// <param name="scale">The number.</param>
    public static bool IsScale(float scale) => scale is >= LeastScale and <= MostScale;

    /// <summary>Rounds activations: scale x clip(round(x x (1 / scale))), ties to even, each step in float32. What is infinite or NaN becomes NaN, so that it is not hidden by a bound.</summary>
    /// <param name="x">Activations.</param>
    /// <param name="scale">The scale.</param>
    /// <param name="rounded">As many values, overwritten; may be <paramref name="x"/>.</param>
    /// <exception cref="ArgumentException">The scale is out of bounds, or the spans differ in length.</exception>
    public static void Round(ReadOnlySpan<float> x, float scale, Span<float> rounded)
    {
        if (!IsScale(scale)) throw new ArgumentOutOfRangeException(nameof(scale), $"the scale of activations is {scale}; {LeastScale} to {MostScale} are possible.");
        if (rounded.Length != x.Length) throw new ArgumentException($"there are {x.Length} activations and room for {rounded.Length}.", nameof(rounded));
        float inverse = 1 / scale;
        for (int i = 0; i < x.Length; i++)
            rounded[i] = float.IsFinite(x[i]) ? scale * Math.Clamp(MathF.Round(x[i] * inverse), -Most, Most) : float.NaN;
    }
}
