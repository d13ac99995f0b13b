namespace Nibble.Core.Compute;

/// <summary><see cref="Activation.Gelu"/>, by its formula and as a table.</summary>
/// <remarks>
/// llama.cpp v0.5.0 looks GELU up in a table of half-precision values (ggml_vec_gelu_f32). Computed in float32, logits of models that have it differ from llama.cpp's by an NMSE of
/// 1e-7; rounded as here, the rare value that lies between two halves remains, which also tells llama.cpp's own builds from one another (1e-8).
/// </remarks>
public static class HalfGelu
{
    // Pinned, so that kernels may use it by its address.
    private static readonly float[] s_table = Build();

    /// <summary>Where there is no table any more: results are 0 below minus this, and x above it.</summary>
    public const float Limit = 10;

    /// <summary>[65536] the result for each half, by its bits. It does not move in memory.</summary>
    public static ReadOnlySpan<float> Table => s_table;

    /// <summary>The result of one value.</summary>
    /// <param name="x">The value.</param>
    public static float Of(float x) => x <= -Limit ? 0 : x >= Limit ? x : (float)(Half)Exact((float)(Half)x);

    private static float Exact(float x) => 0.5f * x * (1 + MathF.Tanh(0.797884560802865f * x * (1 + (0.044715f * x * x))));

    private static float[] Build()
    {
        float[] table = GC.AllocateArray<float>(1 << 16, pinned: true);
        for (int bits = 0; bits < table.Length; bits++)
            table[bits] = Of((float)BitConverter.UInt16BitsToHalf((ushort)bits));
        return table;
    }
}
