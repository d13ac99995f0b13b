namespace Nibble.Benchmarks;

/// <summary>Drawn values.</summary>
internal static class Drawn
{
    private const int Seed = 3;

    /// <summary>Values of deviation 1 about 0, the same each time.</summary>
    /// <param name="count">How many.</param>
    public static float[] Normal(int count)
    {
        Random random = new(Seed);
        // The sum of 12 even draws has the deviation 1.
        return [.. Enumerable.Range(0, count).Select(_ => Enumerable.Range(0, 12).Sum(_ => random.NextSingle()) - 6)];
    }
}
