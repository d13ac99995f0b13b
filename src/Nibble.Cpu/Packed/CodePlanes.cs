using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Nibble.Cpu.Packed;

/// <summary>Codes of 4 bits: 64 bytes for each two groups, g in the low nibbles and g + 4 in the high ones.</summary>
internal static unsafe class NibblePlane
{
    /// <inheritdoc cref="IPackedTile.PackRun"/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Pack(byte* codes, byte* run)
    {
        for (int i = 0; i < 256; i += 32)
            (Vector256.Load(codes + i) | Vector256.Load(codes + 256 + i) << 4).Store(run + i);
    }

    /// <inheritdoc cref="IPackedTile.Unpack"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct
    {
        TBytes both = TLanes.Load(run + (64 * (group & 3)) + offset);

        // Not a shift of 0 or 4: that would become one by a register.
        return group < 4 ? TLanes.Bits(both, 0, 15) : TLanes.Bits(both, 4, 15);
    }
}

/// <summary>Codes of 5 bits: a <see cref="NibblePlane"/>, then 64 bytes of which bit g is the fifth bit of group g.</summary>
internal static unsafe class FiveBitPlanes
{
    /// <inheritdoc cref="IPackedTile.PackRun"/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Pack(byte* codes, byte* run)
    {
        for (int i = 0; i < 64; i += 32)
        {
            Vector256<byte> fifth = Vector256<byte>.Zero;
            for (int group = 0; group < 8; group++)
                fifth |= (Vector256.Load(codes + (64 * group) + i) >>> 4 & Vector256<byte>.One) << group;
            fifth.Store(run + 256 + i);
        }

        byte* low = stackalloc byte[512];
        for (int i = 0; i < 512; i += 32)
            (Vector256.Load(codes + i) & Vector256.Create((byte)15)).Store(low + i);
        NibblePlane.Pack(low, run);
    }

    /// <inheritdoc cref="IPackedTile.Unpack"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct
    {
        TBytes high = TLanes.Load(run + 256 + offset);
        return TLanes.Or(
            NibblePlane.Unpack<TLanes, TBytes, TVector>(run, group, offset),
            group <= 4 ? TLanes.Raise(high, 4 - group, 16) : TLanes.Bits(high, group - 4, 16));
    }
}

/// <summary>Codes of 6 bits: a <see cref="NibblePlane"/>, then 64 bytes with the upper two bits of groups 0 to 3, lowest first, and 64 with those of groups 4 to 7.</summary>
internal static unsafe class SixBitPlanes
{
    /// <inheritdoc cref="IPackedTile.PackRun"/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Pack(byte* codes, byte* run)
    {
        byte* low = stackalloc byte[512], high = stackalloc byte[512];
        for (int i = 0; i < 512; i += 32)
        {
            (Vector256.Load(codes + i) & Vector256.Create((byte)15)).Store(low + i);
            (Vector256.Load(codes + i) >>> 4).Store(high + i);
        }

        NibblePlane.Pack(low, run);
        TwoBitPlane.Pack(high, run + 256);
    }

    /// <inheritdoc cref="IPackedTile.Unpack"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct
    {
        TBytes high = TLanes.Load(run + 256 + (64 * (group >> 2)) + offset);
        int place = 2 * (group & 3);
        return TLanes.Or(
            NibblePlane.Unpack<TLanes, TBytes, TVector>(run, group, offset),
            place <= 4 ? TLanes.Raise(high, 4 - place, 0x30) : TLanes.Bits(high, place - 4, 0x30));
    }
}

/// <summary>Codes of 2 bits: 64 bytes with groups 0 to 3, lowest bits first, and 64 with groups 4 to 7.</summary>
internal static unsafe class TwoBitPlane
{
    /// <inheritdoc cref="IPackedTile.PackRun"/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Pack(byte* codes, byte* run)
    {
        for (int half = 0; half < 2; half++)
        {
            byte* from = codes + (256 * half), to = run + (64 * half);
            for (int i = 0; i < 64; i += 32)
                (Vector256.Load(from + i) | Vector256.Load(from + 64 + i) << 2 | Vector256.Load(from + 128 + i) << 4 | Vector256.Load(from + 192 + i) << 6).Store(to + i);
        }
    }

    /// <inheritdoc cref="IPackedTile.Unpack"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct
    {
        return TLanes.Bits(TLanes.Load(run + (64 * (group >> 2)) + offset), 2 * (group & 3), 3);
    }
}

/// <summary>Codes of 3 bits: a <see cref="TwoBitPlane"/>, then 64 bytes of which bit g is the third bit of group g.</summary>
internal static unsafe class ThreeBitPlanes
{
    /// <inheritdoc cref="IPackedTile.PackRun"/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Pack(byte* codes, byte* run)
    {
        for (int i = 0; i < 64; i += 32)
        {
            Vector256<byte> third = Vector256<byte>.Zero;
            for (int group = 0; group < 8; group++)
                third |= (Vector256.Load(codes + (64 * group) + i) >>> 2 & Vector256<byte>.One) << group;
            third.Store(run + 128 + i);
        }

        byte* low = stackalloc byte[512];
        for (int i = 0; i < 512; i += 32)
            (Vector256.Load(codes + i) & Vector256.Create((byte)3)).Store(low + i);
        TwoBitPlane.Pack(low, run);
    }

    /// <inheritdoc cref="IPackedTile.Unpack"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct
    {
        TBytes high = TLanes.Load(run + 128 + offset);
        return TLanes.Or(
            TwoBitPlane.Unpack<TLanes, TBytes, TVector>(run, group, offset),
            group <= 2 ? TLanes.Raise(high, 2 - group, 4) : TLanes.Bits(high, group - 2, 4));
    }
}

/// <summary>Codes of 8 bits: the groups one after another.</summary>
internal static unsafe class BytePlane
{
    /// <inheritdoc cref="IPackedTile.PackRun"/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Pack(byte* codes, byte* run)
    {
        for (int i = 0; i < 512; i += 32)
            Vector256.Load(codes + i).Store(run + i);
    }

    /// <inheritdoc cref="IPackedTile.Unpack"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct
    {
        return TLanes.Load(run + (64 * group) + offset);
    }
}
