using Nibble.Core.Formats;

namespace Nibble.Llm.Models;

/// <summary>
/// The weights of one tensor of a <see cref="SyntheticModel"/>, one after the other: by its name normal, or uniform in an interval. They are spread so that every tensor of a small model
/// matters for its logits.
/// </summary>
/// <remarks>
/// The numbers of <see cref="SplitMix64"/> begin with the seed and the hash of the name. Normal ones are made of additions and correctly rounded products only, so that the bits are the
/// same everywhere.
/// </remarks>
internal sealed class SyntheticWeights
{
    private static readonly Law[] Laws =
    [
        new("attn_sinks", Low: -1, High: 1),
        new("rope_freqs", Low: 1, High: 8),
        new("rope_factors_", Low: 1, High: 8),
        new("_scale.weight", Low: 0.8f, High: 1.2f),
        new(".scale", Low: 0.8f, High: 1.2f),
        new("ssm_a$", Low: -1.2f, High: -0.2f),
        new("ssm_d$", Low: 0.5f, High: 1.5f),
        new(".bias", Low: -0.3f, High: 0.3f),
        new("norm", Low: 0.8f, High: 1.2f),
        new("embd", Deviation: 1),
        // Logits far apart let each token choose experts of its own.
        new("ffn_gate_inp", Deviation: 3, IsByInputs: true),
        new(string.Empty, Deviation: 1.6f, IsByInputs: true),
    ];

    private readonly Law _law;
    private readonly float _factor;
    private SplitMix64 _random;

    /// <summary>Begins with the first weight.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <param name="columns">Values in a row: what a product adds up.</param>
    /// <param name="seed">Seed.</param>
    public SyntheticWeights(string name, int columns, ulong seed)
    {
        _random = new SplitMix64(SyntheticSeed.Of(name, seed));
        _law = Array.Find(Laws, law => (name + '$').Contains(law.Part, StringComparison.Ordinal))!;
        // Four sixteenths of a 64-bit number have a deviation of 65536 / sqrt(3) together.
        _factor = _law.IsByInputs ? _law.Deviation / MathF.Sqrt(columns) : _law.Deviation;
        _factor *= 1.7320508f / 65536;
    }

    // How the weights of tensors whose names contain a part (or end in one, where it has a $ at the end) are spread: normally around 0, or where no deviation is given uniformly in an interval.
    private sealed record Law(string Part, float Deviation = 0, bool IsByInputs = false, float Low = 0, float High = 0);

    /// <summary>The next weight.</summary>
    public float Next()
    {
        if (_law.Deviation != 0) return _random.NextNormal() * _factor;
        return _law.Low + ((_law.High - _law.Low) * ((_random.Next() >> 40) * (1f / (1 << 24))));
    }
}
