using Nibble.Quantize.Methods;

namespace Nibble.Quantize.Tests.Methods;

/// <summary>Weights, and the Hessian of inputs that share a few directions, as activations do.</summary>
internal static class MethodData
{
    public static float[] Weights(int rows, int columns, int seed, float scale = 0.1f)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, rows * columns).Select(_ => (random.NextSingle() + random.NextSingle() + random.NextSingle() - 1.5f) * scale)];
    }

    public static float[] Hessian(int columns, int seed)
    {
        const int Directions = 32;
        Random random = new(seed);
        float[] mix = [.. Enumerable.Range(0, Directions * columns).Select(_ => random.NextSingle() - 0.5f)], hessian = new float[columns * columns];
        for (int sample = 0; sample < 2 * columns; sample++)
        {
            float[] hidden = [.. Enumerable.Range(0, Directions).Select(_ => random.NextSingle() - 0.5f)], x = new float[columns];
            for (int i = 0; i < columns; i++)
            {
                x[i] = (random.NextSingle() - 0.5f) * 0.5f;
                for (int k = 0; k < Directions; k++)
                    x[i] += hidden[k] * mix[(k * columns) + i];
            }

            for (int i = 0; i < columns; i++)
                for (int j = 0; j < columns; j++)
                    hessian[(i * columns) + j] += x[i] * x[j];
        }

        return hessian;
    }

    public static float[] Diagonal(LayerHessian hessian) => [.. Enumerable.Range(0, hessian.Columns).Select(i => hessian.Values[i * (hessian.Columns + 1)])];

    /// <summary>Every weight rounded to its nearest, by the diagonal alone.</summary>
    public static float[] Nearest(float[] weights, LayerHessian hessian, RoundingGrid grid)
    {
        grid.Fit(weights, Diagonal(hessian));
        return [.. weights.Select((value, i) => grid.Round(i / grid.Columns, i % grid.Columns, value))];
    }

    public static float[] Values(RoundingGrid grid) => [.. Enumerable.Range(0, grid.Codes.Length).Select(i => grid.Value(i / grid.Columns, i % grid.Columns))];
}
