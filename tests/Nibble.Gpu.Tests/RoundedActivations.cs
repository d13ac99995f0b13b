namespace Nibble.Gpu.Tests;

/// <summary>Activations as native/opencl/inputs.cl rounds them, on the host.</summary>
internal static class RoundedActivations
{
    /// <summary>The values that products see.</summary>
    /// <param name="used">What they use.</param>
    /// <param name="x">Runs of 32 columns, where something is used.</param>
    public static float[] Of(GpuFeatures used, float[] x)
    {
        if (used == GpuFeatures.None) return x;
        float[] rounded = new float[x.Length];
        for (int run = 0; run < x.Length; run += 32)
        {
            float magnitude = x.AsSpan(run, 32).ToArray().Max(MathF.Abs);
            for (int i = run; i < run + 32; i++)
            {
                rounded[i] = magnitude == 0 ? 0
                    : used == GpuFeatures.Half ? magnitude * (float)(Half)(x[i] * (1 / magnitude))
                    : magnitude / 127 * MathF.Round(x[i] * (127 / magnitude));
            }
        }

        return rounded;
    }
}
