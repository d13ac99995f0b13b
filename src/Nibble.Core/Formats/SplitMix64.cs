namespace Nibble.Core.Formats;

/// <summary>Random 64-bit numbers, the same for a seed on every platform: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).</summary>
/// <param name="seed">Seed.</param>
public struct SplitMix64(ulong seed)
{
    private ulong _state = seed;

    /// <summary>The next number.</summary>
    public ulong Next()
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

    /// <summary>
    /// The next normal number, nearly: mean 0, deviation 65536 / sqrt(3). It is the sum of four uniform ones, 16 bits each, without their mean, and so a whole number.
    /// </summary>
    public int NextNormal()
    {
        ulong bits = Next();
        return (ushort)bits + (ushort)(bits >> 16) + (ushort)(bits >> 32) + (ushort)(bits >> 48) - (2 * 65535);
    }
}
