namespace Nibble.Core.Compute;

/// <summary>
/// The normalized Walsh-Hadamard transform of heads: a rotation that is its own inverse. It spreads a value that stands out over all values of its head, so that rounding to few bits costs the others less
/// (Ashkboos et al., QuaRot, arXiv 2404.00456). Products of a query and a key stay what they were when both are rotated.
/// </summary>
public static class WalshHadamard
{
    /// <summary>How many values of a head are rotated together: the largest power of two that divides its size.</summary>
    /// <param name="size">Values in a head; above 0.</param>
    public static int Block(int size) => size & -size;

    /// <summary>Rotates heads.</summary>
    /// <param name="values">[n x <paramref name="size"/>], changed.</param>
    /// <param name="size">Values in a head; above 0.</param>
    /// <exception cref="ArgumentException">The values are no whole number of heads.</exception>
    public static void Rotate(Span<float> values, int size)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(size);
        if (values.Length % size != 0)
            throw new ArgumentException($"{values.Length} values are no whole number of heads of {size}.", nameof(values));
        int block = Block(size);
        float scale = 1 / MathF.Sqrt(block);
        for (int half = 1; half < block; half *= 2)
        {
            for (int start = 0; start < values.Length; start += 2 * half)
            {
                for (int i = start; i < start + half; i++)
                    (values[i], values[i + half]) = (values[i] + values[i + half], values[i] - values[i + half]);
            }
        }

        foreach (ref float value in values)
            value *= scale;
    }
}
