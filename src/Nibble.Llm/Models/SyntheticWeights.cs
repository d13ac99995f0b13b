using System.Text;

namespace Nibble.Llm.Models;

/// <summary>
/// The weights of one tensor of a <see cref="SyntheticModel"/>, one after the other: by its name normal, or uniform in an interval. They are spread so that every tensor of a small model
/// matters for its logits.
/// </summary>
/// <remarks>
/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) begins with the seed and the FNV-1a hash of the name. Normal numbers are sums of four uniform ones: additions and correctly rounded
/// products only, so that the bits are the same everywhere.
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
    private ulong _state;

    /// <summary>Begins with the first weight.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <param name="columns">Values in a row: what a product adds up.</param>
    /// <param name="seed">Seed.</param>
    public SyntheticWeights(string name, int columns, ulong seed)
    {
        _state = seed;
        ulong hash = 0xcbf29ce484222325;
        foreach (byte character in Encoding.UTF8.GetBytes(name))
            hash = unchecked((hash ^ character) * 0x100000001b3);
        _state = Mix() ^ hash;
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
        ulong bits = Mix();
        if (_law.Deviation == 0) return _law.Low + ((_law.High - _law.Low) * ((bits >> 40) * (1f / (1 << 24))));
        int sum = (ushort)bits + (ushort)(bits >> 16) + (ushort)(bits >> 32) + (ushort)(bits >> 48);
        return (sum - (2 * 65535)) * _factor;
    }

    private ulong Mix()
    {
        unchecked
        {
            _state += 0x9e3779b97f4a7c15;
            ulong z = _state;
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
            z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
            return z ^ (z >> 31);
        }
    }
}
