namespace Nibble.Quantize.Quantization;

/// <summary>Refuses values that are no numbers, or that a target cannot hold.</summary>
internal static class ValueCheck
{
    /// <summary>Below this magnitude no scale and no value of any target overflows.</summary>
    public const float Safe = 1000;

    private const string Remedy = "Keep the tensor in F32 or BF16 with --tensor, or repair the model.";

    /// <summary>Checks a row of the input.</summary>
    /// <returns>Its largest magnitude.</returns>
    /// <exception cref="QuantizationException">A value is NaN or infinite.</exception>
    public static float Input(string tensor, long row, ReadOnlySpan<float> values) => Finite(tensor, row, values, "the input holds");

    /// <summary>Checks what a row came back as. A search whose weighted sums overflow finds no scale, and a whole block becomes zero.</summary>
    /// <param name="tensor">The tensor's name.</param>
    /// <param name="row">The row.</param>
    /// <param name="values">What it was.</param>
    /// <param name="decoded">What it became.</param>
    /// <param name="largest">The largest magnitude of what it was.</param>
    /// <param name="target">The target.</param>
    /// <exception cref="QuantizationException">A value is no number, or the largest came back as less than half or more than one and a half of itself.</exception>
    public static void Output(string tensor, long row, ReadOnlySpan<float> values, ReadOnlySpan<float> decoded, float largest, string target)
    {
        string what = $"its largest value is {largest:R}, and as {target} it would hold";
        Finite(tensor, row, decoded, what);
        for (int i = 0; i < values.Length; i++)
            if (MathF.Abs(values[i]) == largest && !(MathF.Abs(decoded[i] - values[i]) <= largest / 2))
                throw new QuantizationException($"tensor '{tensor}', row {row}: {what} {decoded[i]} in its place, column {i}. {Remedy}");
    }

    private static float Finite(string tensor, long row, ReadOnlySpan<float> values, string what)
    {
        float largest = 0;
        for (int i = 0; i < values.Length; i++)
        {
            float magnitude = MathF.Abs(values[i]);
            if (!float.IsFinite(magnitude)) throw new QuantizationException($"tensor '{tensor}', row {row}: {what} {values[i]} in column {i}, which is no finite number. {Remedy}");
            largest = MathF.Max(largest, magnitude);
        }

        return largest;
    }
}
