using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Nibble.Core.Formats;
using Nibble.Cpu.Codes;

namespace Nibble.Cpu.Packed;

/// <summary>Q4_0: nibbles less 8, a half scale.</summary>
internal readonly unsafe struct PackedQ4_0 : IPackedFormat
{
    public static BlockFormat Format => BlockFormats.Q4_0;

    public static int Columns => 32;

    public static int HeadBytes => 32;

    public static int RunBytes => 256;

    public static CodeKind Kind => CodeKind.Nibbles;

    public static bool PackHead(byte* block, byte* head, int row) => Heads.Half(block, head, row);

    public static void Codes(byte* block, byte* codes) => RowCodes.Of<Q4_0Codes>(block, codes, 8);

    public static void PackRun(byte* codes, byte* run) => NibblePlane.Pack(codes, run);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset, TBytes table)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        NibblePlane.Unpack<TLanes, TBytes, TVector>(run, group, offset);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Scales<TLanes, TBytes, TVector>(byte* head, int run, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TLanes.Halves(head + (2 * row));
}

/// <summary>Q4_1: nibbles, half scale and minimum.</summary>
internal readonly unsafe struct PackedQ4_1 : IPackedFormat
{
    public static BlockFormat Format => BlockFormats.Q4_1;

    public static int Columns => 32;

    public static int HeadBytes => 64;

    public static int RunBytes => 256;

    public static CodeKind Kind => CodeKind.Nibbles;

    public static bool HasMinimum => true;

    public static bool PackHead(byte* block, byte* head, int row) => Heads.TwoHalves(block, head, row);

    public static void Codes(byte* block, byte* codes) => RowCodes.Of<Q4_1Codes>(block, codes, 0);

    public static void PackRun(byte* codes, byte* run) => NibblePlane.Pack(codes, run);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset, TBytes table)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        NibblePlane.Unpack<TLanes, TBytes, TVector>(run, group, offset);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Scales<TLanes, TBytes, TVector>(byte* head, int run, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TLanes.Halves(head + (2 * row));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Minima<TLanes, TBytes, TVector>(byte* head, int run, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TLanes.Halves(head + 32 + (2 * row));
}

/// <summary>Q5_0: five bits less 16, a half scale.</summary>
internal readonly unsafe struct PackedQ5_0 : IPackedFormat
{
    public static BlockFormat Format => BlockFormats.Q5_0;

    public static int Columns => 32;

    public static int HeadBytes => 32;

    public static int RunBytes => 320;

    public static CodeKind Kind => CodeKind.FiveBits;

    public static bool PackHead(byte* block, byte* head, int row) => Heads.Half(block, head, row);

    public static void Codes(byte* block, byte* codes) => RowCodes.Of<Q5_0Codes>(block, codes, 16);

    public static void PackRun(byte* codes, byte* run) => FiveBitPlanes.Pack(codes, run);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset, TBytes table)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        FiveBitPlanes.Unpack<TLanes, TBytes, TVector>(run, group, offset);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Scales<TLanes, TBytes, TVector>(byte* head, int run, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TLanes.Halves(head + (2 * row));
}

/// <summary>Q5_1: five bits, half scale and minimum.</summary>
internal readonly unsafe struct PackedQ5_1 : IPackedFormat
{
    public static BlockFormat Format => BlockFormats.Q5_1;

    public static int Columns => 32;

    public static int HeadBytes => 64;

    public static int RunBytes => 320;

    public static CodeKind Kind => CodeKind.FiveBits;

    public static bool HasMinimum => true;

    public static bool PackHead(byte* block, byte* head, int row) => Heads.TwoHalves(block, head, row);

    public static void Codes(byte* block, byte* codes) => RowCodes.Of<Q5_1Codes>(block, codes, 0);

    public static void PackRun(byte* codes, byte* run) => FiveBitPlanes.Pack(codes, run);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset, TBytes table)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        FiveBitPlanes.Unpack<TLanes, TBytes, TVector>(run, group, offset);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Scales<TLanes, TBytes, TVector>(byte* head, int run, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TLanes.Halves(head + (2 * row));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Minima<TLanes, TBytes, TVector>(byte* head, int run, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TLanes.Halves(head + 32 + (2 * row));
}

/// <summary>Q8_0: bytes, a half scale.</summary>
internal readonly unsafe struct PackedQ8_0 : IPackedFormat
{
    public static BlockFormat Format => BlockFormats.Q8_0;

    public static int Columns => 32;

    public static int HeadBytes => 32;

    public static int RunBytes => 512;

    public static CodeKind Kind => CodeKind.Bytes;

    public static bool PackHead(byte* block, byte* head, int row) => Heads.Half(block, head, row);

    public static void Codes(byte* block, byte* codes) => RowCodes.Of<Q8_0Codes>(block, codes, 128);

    public static void PackRun(byte* codes, byte* run) => BytePlane.Pack(codes, run);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset, TBytes table)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        BytePlane.Unpack<TLanes, TBytes, TVector>(run, group, offset);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Scales<TLanes, TBytes, TVector>(byte* head, int run, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TLanes.Halves(head + (2 * row));
}

/// <summary>IQ4_NL: nibbles that are looked up, a half scale.</summary>
internal readonly unsafe struct PackedIQ4_NL : IPackedFormat
{
    public static BlockFormat Format => BlockFormats.IQ4_NL;

    public static int Columns => 32;

    public static int HeadBytes => 32;

    public static int RunBytes => 256;

    public static CodeKind Kind => CodeKind.Bytes;

    public static bool PackHead(byte* block, byte* head, int row) => Heads.Half(block, head, row);

    public static void Codes(byte* block, byte* codes) => RowCodes.Nibbles(block + 2, codes);

    public static void PackRun(byte* codes, byte* run) => NibblePlane.Pack(codes, run);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Table<TLanes, TBytes, TVector>(Vector128<byte> own)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TLanes.Table(RowCodes.Iq4Nl);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset, TBytes table)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TLanes.LookUp(table, NibblePlane.Unpack<TLanes, TBytes, TVector>(run, group, offset));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Scales<TLanes, TBytes, TVector>(byte* head, int run, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TLanes.Halves(head + (2 * row));
}

/// <summary>MXFP4: nibbles that are looked up as five bits less 16, a power of two as scale.</summary>
internal readonly unsafe struct PackedMXFP4 : IPackedFormat
{
    public static BlockFormat Format => BlockFormats.MXFP4;

    public static int Columns => 32;

    public static int HeadBytes => 16;

    public static int RunBytes => 256;

    public static CodeKind Kind => CodeKind.FiveBits;

    public static float Factor => 1 / Heads.TokenFactor;

    public static bool PackHead(byte* block, byte* head, int row) => Heads.PowerOfTwo(block, head, row);

    public static void Codes(byte* block, byte* codes) => RowCodes.Nibbles(block + 1, codes);

    public static void PackRun(byte* codes, byte* run) => NibblePlane.Pack(codes, run);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Table<TLanes, TBytes, TVector>(Vector128<byte> own)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TLanes.Table(RowCodes.E2M1);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset, TBytes table)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TLanes.LookUp(table, NibblePlane.Unpack<TLanes, TBytes, TVector>(run, group, offset));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Scales<TLanes, TBytes, TVector>(byte* head, int run, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TLanes.HalfPowersOfTwo(head + row);
}
