namespace Nibble.Core.Compute;

/// <summary>Which values of a head RoPE turns together.</summary>
public enum RopePairing
{
    /// <summary>Neighbours: 2i and 2i + 1 (ggml's NORM, the paper's own).</summary>
    Adjacent,

    /// <summary>Halves: i and i + pairs (ggml's NEOX).</summary>
    Halves,
}

/// <summary>The rotation of one kind of layer: an angle a position for each pair, with all scaling (linear, YaRN, frequency factors) worked in.</summary>
/// <remarks>Su et al., RoFormer, arXiv 2104.09864. Values before <see cref="Offset"/> and past the last pair of a head stay as they are (partial rotary).</remarks>
public sealed class RopeTable
{
    private readonly double[] _frequencies;
    private readonly float _ratio;

    /// <summary>A table.</summary>
    /// <param name="pairing">Which values turn together.</param>
    /// <param name="frequencies">[pairs] radians a position, where <paramref name="ratio"/> is 1.</param>
    /// <param name="magnitude">What sine and cosine are multiplied by (YaRN's attention factor); 1 for plain RoPE.</param>
    /// <param name="offset">Values at the start of a head that stay as they are.</param>
    /// <param name="ratio">What angles are multiplied by again from each pair to the next, in float32.</param>
    public RopeTable(RopePairing pairing, ReadOnlySpan<double> frequencies, float magnitude, int offset = 0, float ratio = 1)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        Offset = offset;
        Pairing = pairing;
        _frequencies = frequencies.ToArray();
        _ratio = ratio;
        Magnitude = magnitude;
    }

    /// <summary>Which values turn together.</summary>
    public RopePairing Pairing { get; }

    /// <summary>Values at the start of a head that stay as they are (multi-head latent attention turns the rest).</summary>
    public int Offset { get; }

    /// <summary>Values of a head that turn, divided by 2.</summary>
    public int Pairs => _frequencies.Length;

    /// <summary>What sine and cosine are multiplied by.</summary>
    public float Magnitude { get; }

    /// <summary>Cosine and sine of one position, times <see cref="Magnitude"/>.</summary>
    /// <param name="position">Position, 0 or more.</param>
    /// <param name="cosine">[pairs], overwritten.</param>
    /// <param name="sine">[pairs], overwritten.</param>
    public void Rotation(int position, Span<float> cosine, Span<float> sine)
    {
        // In float32 and one after the other, for so does llama.cpp v0.5.0 (ggml_rope_cache_init). Exact angles differ by up to 1e-6 of their size: logits by an NMSE of 1e-11, and much
        // more where such a difference makes a value another half (HalfGelu).
        float angle = position;
        for (int i = 0; i < _frequencies.Length; i++)
        {
            (double s, double c) = Math.SinCos(angle * _frequencies[i]);
            angle *= _ratio;
            cosine[i] = (float)(c * Magnitude);
            sine[i] = (float)(s * Magnitude);
        }
    }
}
