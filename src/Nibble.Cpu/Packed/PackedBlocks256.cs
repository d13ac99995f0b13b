using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Nibble.Core.Formats;
using Nibble.Cpu.Codes;

namespace Nibble.Cpu.Packed;

/// <summary>Q4_K: nibbles; halves d and dmin of the block, scale and minimum of 6 bits per 32, which take a byte here.</summary>
internal readonly unsafe struct PackedQ4_K : IPackedFormat
{
    public static BlockFormat Format => BlockFormats.Q4_K;

    public static int Columns => 256;

    public static int HeadBytes => 320;

    public static int RunBytes => 256;

    public static CodeKind Kind => CodeKind.Nibbles;

    public static bool HasMinimum => true;

    public static bool PackHead(byte* block, byte* head, int row) => Heads.SixBits(block, head, row);

    public static void Codes(byte* block, byte* codes) => RowCodes.Of<Q4_KCodes>(block, codes, 0);

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
        TLanes.Multiply(TLanes.Halves(head + (2 * row)), TLanes.Unsigned(head + 64 + (16 * run) + row));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Minima<TLanes, TBytes, TVector>(byte* head, int run, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TLanes.Multiply(TLanes.Multiply(TLanes.Halves(head + 32 + (2 * row)), TLanes.Broadcast(-1f)), TLanes.Unsigned(head + 192 + (16 * run) + row));
}

/// <summary>Q5_K: as Q4_K with five bits.</summary>
internal readonly unsafe struct PackedQ5_K : IPackedFormat
{
    public static BlockFormat Format => BlockFormats.Q5_K;

    public static int Columns => 256;

    public static int HeadBytes => 320;

    public static int RunBytes => 320;

    public static CodeKind Kind => CodeKind.FiveBits;

    public static bool HasMinimum => true;

    public static bool PackHead(byte* block, byte* head, int row) => Heads.SixBits(block, head, row);

    public static void Codes(byte* block, byte* codes) => RowCodes.Of<Q5_KCodes>(block, codes, 0);

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
        TLanes.Multiply(TLanes.Halves(head + (2 * row)), TLanes.Unsigned(head + 64 + (16 * run) + row));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Minima<TLanes, TBytes, TVector>(byte* head, int run, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TLanes.Multiply(TLanes.Multiply(TLanes.Halves(head + 32 + (2 * row)), TLanes.Broadcast(-1f)), TLanes.Unsigned(head + 192 + (16 * run) + row));
}

/// <summary>IQ4_XS: nibbles that are looked up; half d of the block, a signed scale per 32.</summary>
internal readonly unsafe struct PackedIQ4_XS : IPackedFormat
{
    public static BlockFormat Format => BlockFormats.IQ4_XS;

    public static int Columns => 256;

    public static int HeadBytes => 160;

    public static int RunBytes => 256;

    public static CodeKind Kind => CodeKind.Bytes;

    public static bool PackHead(byte* block, byte* head, int row) => Heads.IQ4_XS(block, head, row);

    public static void Codes(byte* block, byte* codes) => RowCodes.IQ4_XS(block, codes);

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
        TLanes.Multiply(TLanes.Halves(head + (2 * row)), TLanes.Signed(head + 32 + (16 * run) + row));
}

/// <summary>Q6_K: six bits less 32; half d of the block, a signed scale per 16.</summary>
internal readonly unsafe struct PackedQ6_K : IPackedFormat
{
    public static BlockFormat Format => BlockFormats.Q6_K;

    public static int Columns => 256;

    public static int HeadBytes => 288;

    public static int RunBytes => 384;

    public static CodeKind Kind => CodeKind.Groups;

    public static bool PackHead(byte* block, byte* head, int row) => Heads.Q6_K(block, head, row);

    public static void Codes(byte* block, byte* codes) => RowCodes.Of<Q6_KCodes>(block, codes, 32);

    public static void PackRun(byte* codes, byte* run) => SixBitPlanes.Pack(codes, run);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset, TBytes table)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        SixBitPlanes.Unpack<TLanes, TBytes, TVector>(run, group, offset);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Scales<TLanes, TBytes, TVector>(byte* head, int run, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TLanes.Halves(head + (2 * row));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes GroupScales<TLanes, TBytes, TVector>(byte* head, int sixteen, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct
    {
        TBytes scale = TLanes.Wide((sbyte*)(head + 32 + (16 * sixteen) + row));
        return TLanes.Pair(scale, scale);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes GroupMinima<TLanes, TBytes, TVector>(byte* head, int run, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct
    {
        sbyte* scales = (sbyte*)(head + 32 + (32 * run) + row);
        return TLanes.Pair(TLanes.Times(TLanes.Wide(scales), -32), TLanes.Times(TLanes.Wide(scales + 16), -32));
    }
}

/// <summary>Q3_K: three bits less 4; half d of the block, a signed scale per 16.</summary>
internal readonly unsafe struct PackedQ3_K : IPackedFormat
{
    public static BlockFormat Format => BlockFormats.Q3_K;

    public static int Columns => 256;

    public static int HeadBytes => 288;

    public static int RunBytes => 192;

    public static CodeKind Kind => CodeKind.Groups;

    public static bool PackHead(byte* block, byte* head, int row) => Heads.Q3_K(block, head, row);

    public static void Codes(byte* block, byte* codes) => RowCodes.Of<Q3_KCodes>(block, codes, 4);

    public static void PackRun(byte* codes, byte* run) => ThreeBitPlanes.Pack(codes, run);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset, TBytes table)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        ThreeBitPlanes.Unpack<TLanes, TBytes, TVector>(run, group, offset);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Scales<TLanes, TBytes, TVector>(byte* head, int run, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TLanes.Halves(head + (2 * row));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes GroupScales<TLanes, TBytes, TVector>(byte* head, int sixteen, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct
    {
        TBytes scale = TLanes.Wide((sbyte*)(head + 32 + (16 * sixteen) + row));
        return TLanes.Pair(scale, scale);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes GroupMinima<TLanes, TBytes, TVector>(byte* head, int run, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct
    {
        sbyte* scales = (sbyte*)(head + 32 + (32 * run) + row);
        return TLanes.Pair(TLanes.Times(TLanes.Wide(scales), -4), TLanes.Times(TLanes.Wide(scales + 16), -4));
    }
}

/// <summary>Q2_K: two bits; halves d and dmin of the block, scale and minimum of 4 bits per 16.</summary>
internal readonly unsafe struct PackedQ2_K : IPackedFormat
{
    public static BlockFormat Format => BlockFormats.Q2_K;

    public static int Columns => 256;

    public static int HeadBytes => 320;

    public static int RunBytes => 128;

    public static CodeKind Kind => CodeKind.Groups;

    public static bool HasMinimum => true;

    public static bool PackHead(byte* block, byte* head, int row) => Heads.Q2_K(block, head, row);

    public static void Codes(byte* block, byte* codes) => RowCodes.Of<Q2_KCodes>(block, codes, 0);

    public static void PackRun(byte* codes, byte* run) => TwoBitPlane.Pack(codes, run);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset, TBytes table)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TwoBitPlane.Unpack<TLanes, TBytes, TVector>(run, group, offset);

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

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes GroupScales<TLanes, TBytes, TVector>(byte* head, int sixteen, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct
    {
        TBytes scale = TLanes.Bits(TLanes.Wide(head + 64 + (16 * sixteen) + row), 0, 15);
        return TLanes.Pair(scale, scale);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes GroupMinima<TLanes, TBytes, TVector>(byte* head, int run, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct
    {
        byte* both = head + 64 + (32 * run) + row;
        return TLanes.Pair(TLanes.Times(TLanes.Bits(TLanes.Wide(both), 4, 15), -1), TLanes.Times(TLanes.Bits(TLanes.Wide(both + 16), 4, 15), -1));
    }
}

/// <summary>TQ1_0: three values, -1 to 1, as 2 bits; a half scale per block, and a minimum of -1 scale.</summary>
internal readonly unsafe struct PackedTQ1_0 : IPackedFormat
{
    public static BlockFormat Format => BlockFormats.TQ1_0;

    public static int Columns => 256;

    public static int HeadBytes => 32;

    public static int RunBytes => 128;

    public static CodeKind Kind => CodeKind.Nibbles;

    public static bool HasMinimum => true;

    public static bool PackHead(byte* block, byte* head, int row) => Heads.Half(block + 52, head, row);

    public static void Codes(byte* block, byte* codes) => RowCodes.Of<TQ1_0Codes>(block, codes, 1);

    public static void PackRun(byte* codes, byte* run) => TwoBitPlane.Pack(codes, run);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset, TBytes table)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TwoBitPlane.Unpack<TLanes, TBytes, TVector>(run, group, offset);

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
        TLanes.Multiply(TLanes.Halves(head + (2 * row)), TLanes.Broadcast(-1f));
}

/// <summary>TQ2_0: as TQ1_0.</summary>
internal readonly unsafe struct PackedTQ2_0 : IPackedFormat
{
    public static BlockFormat Format => BlockFormats.TQ2_0;

    public static int Columns => 256;

    public static int HeadBytes => 32;

    public static int RunBytes => 128;

    public static CodeKind Kind => CodeKind.Nibbles;

    public static bool HasMinimum => true;

    public static bool PackHead(byte* block, byte* head, int row) => Heads.Half(block + 64, head, row);

    public static void Codes(byte* block, byte* codes) => RowCodes.Of<TQ2_0Codes>(block, codes, 1);

    public static void PackRun(byte* codes, byte* run) => TwoBitPlane.Pack(codes, run);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset, TBytes table)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TwoBitPlane.Unpack<TLanes, TBytes, TVector>(run, group, offset);

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
        TLanes.Multiply(TLanes.Halves(head + (2 * row)), TLanes.Broadcast(-1f));
}
