using Nibble.Core.Formats;

namespace Nibble.Cpu.Codes;

/// <summary>
/// A block format as 8-bit codes: value i = Scales[i / 16] Codes[i] (+ Mins[i / 16]), with the bits of <see cref="BlockFormat.Decode"/> when
/// product and sum are rounded one after the other.
/// </summary>
internal unsafe interface IUnpack
{
    /// <summary>The format.</summary>
    static abstract BlockFormat Format { get; }

    /// <summary>Values in a block; a multiple of 32.</summary>
    static abstract int Values { get; }

    /// <summary>Bytes of a block.</summary>
    static abstract int Bytes { get; }

    /// <summary>Whether values have a minimum added.</summary>
    static abstract bool HasMins { get; }

    /// <summary>Unpacks one block, reading nothing outside of it.</summary>
    /// <param name="block">The block; any address.</param>
    /// <param name="codes">[values], overwritten.</param>
    /// <param name="scales">[values / 16], overwritten.</param>
    /// <param name="mins">[values / 16], overwritten where <see cref="HasMins"/>.</param>
    static abstract void Unpack(byte* block, sbyte* codes, float* scales, float* mins);
}
