using System.Text;
using Nibble.Core.Formats;

namespace Nibble.Llm.Models;

/// <summary>Seeds of the tensors of a <see cref="SyntheticModel"/>.</summary>
internal static class SyntheticSeed
{
    /// <summary>The first number of the seed, mixed with the FNV-1a hash (Fowler, Noll and Vo) of a tensor's name.</summary>
    public static ulong Of(string name, ulong seed)
    {
        ulong hash = 0xcbf29ce484222325;
        foreach (byte character in Encoding.UTF8.GetBytes(name))
            hash = unchecked((hash ^ character) * 0x100000001b3);
        return new SplitMix64(seed).Next() ^ hash;
    }

    /// <summary>The seed of a row of a tensor, so that rows may be made in any order.</summary>
    public static ulong OfRow(ulong tensorSeed, long row) => new SplitMix64(new SplitMix64((ulong)row).Next() ^ tensorSeed).Next();
}
