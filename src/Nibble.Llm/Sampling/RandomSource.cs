namespace Nibble.Llm.Sampling;

/// <summary>The chain's random numbers: xoshiro256** 1.0 (Blackman and Vigna, 2018), its state filled by SplitMix64 from the seed.</summary>
/// <remarks>The same seed gives the same numbers on every platform and in every version. The state is four 64-bit words that can be saved.</remarks>
public sealed class RandomSource
{
    private ulong _s0, _s1, _s2, _s3;

    /// <summary>Starts the sequence of a seed.</summary>
    public RandomSource(ulong seed) => Seed(seed);

    private RandomSource(RandomSource other) => (_s0, _s1, _s2, _s3) = (other._s0, other._s1, other._s2, other._s3);

    /// <summary>The state: four words, not all zero.</summary>
    /// <exception cref="ArgumentException">All words set are zero, from which the generator would never leave.</exception>
    public (ulong S0, ulong S1, ulong S2, ulong S3) State
    {
        get => (_s0, _s1, _s2, _s3);
        set
        {
            if ((value.S0 | value.S1 | value.S2 | value.S3) == 0) throw new ArgumentException("A random state of four zero words is not valid; it must hold a set bit.", nameof(value));
            (_s0, _s1, _s2, _s3) = value;
        }
    }

    /// <summary>Starts over with a seed.</summary>
    public void Seed(ulong seed)
    {
        _s0 = SplitMix(ref seed);
        _s1 = SplitMix(ref seed);
        _s2 = SplitMix(ref seed);
        _s3 = SplitMix(ref seed);
    }

    /// <summary>The next 64 random bits.</summary>
    public ulong Next()
    {
        ulong result = ulong.RotateLeft(_s1 * 5, 7) * 9;
        ulong t = _s1 << 17;
        _s2 ^= _s0;
        _s3 ^= _s1;
        _s1 ^= _s2;
        _s0 ^= _s3;
        _s2 ^= t;
        _s3 = ulong.RotateLeft(_s3, 45);
        return result;
    }

    /// <summary>A number from 0 up to but not including 1, in steps of 2^-53.</summary>
    public double NextDouble() => (Next() >> 11) * (1.0 / (1UL << 53));

    /// <summary>A source that continues as this one does, apart from it.</summary>
    public RandomSource Clone() => new(this);

    private static ulong SplitMix(ref ulong state)
    {
        ulong z = state += 0x9E3779B97F4A7C15;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
        z = (z ^ z >> 27) * 0x94D049BB133111EB;
        return z ^ z >> 31;
    }
}
