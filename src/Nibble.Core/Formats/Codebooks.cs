namespace Nibble.Core.Formats;

/// <summary>The fixed tables that 4-bit codes of some formats index. Source: ggml-common.h, llama.cpp v0.5.0.</summary>
public static class Codebooks
{
    /// <summary>[16] the non-linear levels of IQ4_NL and IQ4_XS.</summary>
    public static ReadOnlySpan<sbyte> Iq4Nl => [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

    /// <summary>[16] twice the E2M1 values of MXFP4 and NVFP4 (OCP Microscaling Formats v1.0); the negative zero is a plain zero here.</summary>
    public static ReadOnlySpan<sbyte> E2M1Doubled => [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];
}
