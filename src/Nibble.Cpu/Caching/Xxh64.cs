using System.Numerics;
using System.Runtime.CompilerServices;

namespace Nibble.Cpu.Caching;

/// <summary>XXH64, a fast hash that tells data that differ by accident. Not for secrets: who wants to can make two data of one hash.</summary>
/// <remarks>Source: doc/xxhash_spec.md of xxHash 0.8.</remarks>
internal static unsafe class Xxh64
{
    private const ulong P1 = 0x9E3779B185EBCA87, P2 = 0xC2B2AE3D27D4EB4F, P3 = 0x165667B19E3779F9, P4 = 0x85EBCA77C2B2AE63, P5 = 0x27D4EB2F165667C5;

    /// <summary>The hash of a span.</summary>
    /// <param name="data">The bytes.</param>
    /// <param name="seed">Changes the hash.</param>
    public static ulong Hash(ReadOnlySpan<byte> data, ulong seed = 0)
    {
        fixed (byte* start = data)
            return Hash(start, data.Length, seed);
    }

    /// <summary>The hash of bytes anywhere in memory.</summary>
    /// <param name="data">The first byte.</param>
    /// <param name="length">Bytes.</param>
    /// <param name="seed">Changes the hash.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static ulong Hash(byte* data, long length, ulong seed)
    {
        byte* end = data + length;
        ulong hash = seed + P5;
        if (length >= 32)
        {
            // Four sums beside one another, so that the multiplications of one do not wait for those of the others.
            ulong a = seed + P1 + P2, b = seed + P2, c = seed, d = seed - P1;
            for (; end - data >= 32; data += 32)
            {
                a = Round(a, Unsafe.ReadUnaligned<ulong>(data));
                b = Round(b, Unsafe.ReadUnaligned<ulong>(data + 8));
                c = Round(c, Unsafe.ReadUnaligned<ulong>(data + 16));
                d = Round(d, Unsafe.ReadUnaligned<ulong>(data + 24));
            }

            hash = BitOperations.RotateLeft(a, 1) + BitOperations.RotateLeft(b, 7) + BitOperations.RotateLeft(c, 12) + BitOperations.RotateLeft(d, 18);
            hash = Merge(Merge(Merge(Merge(hash, a), b), c), d);
        }

        hash += (ulong)length;
        for (; end - data >= 8; data += 8)
            hash = (BitOperations.RotateLeft(hash ^ Round(0, Unsafe.ReadUnaligned<ulong>(data)), 27) * P1) + P4;
        if (end - data >= 4)
        {
            hash = (BitOperations.RotateLeft(hash ^ (Unsafe.ReadUnaligned<uint>(data) * P1), 23) * P2) + P3;
            data += 4;
        }

        for (; data < end; data++)
            hash = BitOperations.RotateLeft(hash ^ (*data * P5), 11) * P1;
        hash = (hash ^ (hash >> 33)) * P2;
        hash = (hash ^ (hash >> 29)) * P3;
        return hash ^ (hash >> 32);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Round(ulong sum, ulong lane) => BitOperations.RotateLeft(sum + (lane * P2), 31) * P1;

    private static ulong Merge(ulong hash, ulong sum) => ((hash ^ Round(0, sum)) * P1) + P4;
}
