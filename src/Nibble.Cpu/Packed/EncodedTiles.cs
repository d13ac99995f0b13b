using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Nibble.Cpu.Packed;

/// <summary>The packed order of an encoding: code times scale, less zero times scale.</summary>
internal unsafe interface IEncodedTile : IPackedTile
{
    /// <summary>Puts a row's scale and zero into the head.</summary>
    /// <param name="head">The head.</param>
    /// <param name="row">0 to 15.</param>
    /// <param name="scale">The scale.</param>
    /// <param name="zero">The code of zero.</param>
    /// <returns>Whether they have a place there.</returns>
    static abstract bool PackHead(byte* head, int row, float scale, float zero);
}

/// <summary>Codes of an encoding: how they are packed, and which tile multiplies them.</summary>
internal unsafe interface IEncodedCodes
{
    /// <inheritdoc cref="IPackedTile.Kind"/>
    static abstract CodeKind Kind { get; }

    /// <inheritdoc cref="IPackedTile.RunBytes"/>
    static abstract int RunBytes { get; }

    /// <inheritdoc cref="IPackedTile.PackRun"/>
    static abstract void Pack(byte* codes, byte* run);

    /// <inheritdoc cref="IPackedTile.Table"/>
    static virtual TBytes Table<TLanes, TBytes, TVector>(Vector128<byte> own)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct => default;

    /// <inheritdoc cref="IPackedTile.Unpack"/>
    static abstract TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset, TBytes table)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct;
}

/// <summary>How a tile has the zeros of 16 rows, behind their scales.</summary>
internal unsafe interface IEncodedZeros
{
    /// <summary>Bytes of them.</summary>
    static abstract int Bytes { get; }

    /// <summary>Whether there are some: minima of minus zero times scale.</summary>
    static abstract bool HasMinimum { get; }

    /// <summary>Puts a row's zero into its place.</summary>
    /// <param name="zeros">The place of 16.</param>
    /// <param name="row">0 to 15.</param>
    /// <param name="scale">The scale.</param>
    /// <param name="zero">The code of zero; of <see cref="CodeKind.Bytes"/> less 128.</param>
    /// <returns>Whether it has a place there.</returns>
    static abstract bool Pack(byte* zeros, int row, float scale, float zero);

    /// <summary>The minima, a lane a row.</summary>
    /// <param name="scales">The scales, whose place is followed by that of the zeros.</param>
    /// <param name="row">The first lane's row.</param>
    static virtual TVector Minima<TLanes, TBytes, TVector>(byte* scales, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct => default;
}

/// <summary>How many columns share a scale in a tile.</summary>
internal interface IEncodedColumns
{
    /// <summary>Columns.</summary>
    static abstract int Count { get; }
}

/// <summary>32 columns.</summary>
internal readonly struct Columns32 : IEncodedColumns
{
    public static int Count => 32;
}

/// <summary>64 columns.</summary>
internal readonly struct Columns64 : IEncodedColumns
{
    public static int Count => 64;
}

/// <summary>128 columns.</summary>
internal readonly struct Columns128 : IEncodedColumns
{
    public static int Count => 128;
}

/// <summary>Whole numbers of 4 bits.</summary>
internal readonly unsafe struct NibbleCodes : IEncodedCodes
{
    public static CodeKind Kind => CodeKind.Nibbles;

    public static int RunBytes => 256;

    public static void Pack(byte* codes, byte* run) => NibblePlane.Pack(codes, run);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset, TBytes table)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        NibblePlane.Unpack<TLanes, TBytes, TVector>(run, group, offset);
}

/// <summary>Whole numbers of 3 bits.</summary>
internal readonly unsafe struct ThreeBitCodes : IEncodedCodes
{
    public static CodeKind Kind => CodeKind.Nibbles;

    public static int RunBytes => 192;

    public static void Pack(byte* codes, byte* run) => ThreeBitPlanes.Pack(codes, run);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset, TBytes table)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        ThreeBitPlanes.Unpack<TLanes, TBytes, TVector>(run, group, offset);
}

/// <summary>Whole numbers of 2 bits.</summary>
internal readonly unsafe struct TwoBitCodes : IEncodedCodes
{
    public static CodeKind Kind => CodeKind.Nibbles;

    public static int RunBytes => 128;

    public static void Pack(byte* codes, byte* run) => TwoBitPlane.Pack(codes, run);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset, TBytes table)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TwoBitPlane.Unpack<TLanes, TBytes, TVector>(run, group, offset);
}

/// <summary>Whole numbers of 8 bits.</summary>
internal readonly unsafe struct ByteCodes : IEncodedCodes
{
    public static CodeKind Kind => CodeKind.Bytes;

    public static int RunBytes => 512;

    public static void Pack(byte* codes, byte* run) => BytePlane.Pack(codes, run);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset, TBytes table)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        BytePlane.Unpack<TLanes, TBytes, TVector>(run, group, offset);
}

/// <summary>Nibbles that are looked up in the weight's own table, see <see cref="TableBytes"/>.</summary>
internal readonly unsafe struct TableCodes : IEncodedCodes
{
    public static CodeKind Kind => CodeKind.Bytes;

    public static int RunBytes => 256;

    public static void Pack(byte* codes, byte* run) => NibblePlane.Pack(codes, run);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Table<TLanes, TBytes, TVector>(Vector128<byte> own)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TLanes.Table(own);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset, TBytes table)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TLanes.LookUp(table, NibblePlane.Unpack<TLanes, TBytes, TVector>(run, group, offset));
}

/// <summary>No zeros to keep: all are 128, which <see cref="CodeKind.Bytes"/> takes away itself, or a table has seen to it.</summary>
internal readonly unsafe struct NoZeros : IEncodedZeros
{
    public static int Bytes => 0;

    public static bool HasMinimum => false;

    public static bool Pack(byte* zeros, int row, float scale, float zero) => true;
}

/// <summary>All zeros are 8, which <see cref="CodeKind.Nibbles"/> without minima take away themselves.</summary>
internal readonly unsafe struct ZeroOf8 : IEncodedZeros
{
    public static int Bytes => 0;

    public static bool HasMinimum => false;

    public static bool Pack(byte* zeros, int row, float scale, float zero) => zero == 8;
}

/// <summary>Whole zeros of 0 to 128, kept as signed bytes with the sign changed.</summary>
internal readonly unsafe struct WholeZeros : IEncodedZeros
{
    public static int Bytes => 16;

    public static bool HasMinimum => true;

    public static bool Pack(byte* zeros, int row, float scale, float zero)
    {
        zeros[row] = unchecked((byte)-(int)zero);
        return zero is >= 0 and <= 128 && zero == MathF.Truncate(zero);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Minima<TLanes, TBytes, TVector>(byte* scales, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TLanes.Multiply(TLanes.Load((float*)scales + row), TLanes.Signed(scales + 64 + row));
}

/// <summary>Any zeros, kept as float32 minima.</summary>
internal readonly unsafe struct FloatZeros : IEncodedZeros
{
    public static int Bytes => 64;

    public static bool HasMinimum => true;

    public static bool Pack(byte* zeros, int row, float scale, float zero)
    {
        float minimum = -(scale * zero);
        ((float*)zeros)[row] = minimum;
        return MathF.Abs(minimum) < EncodedKernel.Limit;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Minima<TLanes, TBytes, TVector>(byte* scales, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TLanes.Load((float*)(scales + 64) + row);
}

/// <summary>A tile of an encoding: [16] float32 scales, zeros, codes.</summary>
internal readonly unsafe struct EncodedTile<TCodes, TColumns, TZeros> : IEncodedTile
    where TCodes : struct, IEncodedCodes
    where TColumns : struct, IEncodedColumns
    where TZeros : struct, IEncodedZeros
{
    public static int Columns => TColumns.Count;

    public static int HeadBytes => 64 + TZeros.Bytes;

    public static int RunBytes => TCodes.RunBytes;

    public static CodeKind Kind => TCodes.Kind;

    public static bool HasMinimum => TZeros.HasMinimum;

    public static float Factor => 1 / Heads.TokenFactor;

    public static bool PackHead(byte* head, int row, float scale, float zero)
    {
        ((float*)head)[row] = scale;
        return MathF.Abs(scale) < EncodedKernel.Limit / 256 & TZeros.Pack(head + 64, row, scale, TCodes.Kind == CodeKind.Bytes ? zero - 128 : zero);
    }

    public static void PackRun(byte* codes, byte* run) => TCodes.Pack(codes, run);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Table<TLanes, TBytes, TVector>(Vector128<byte> own)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TCodes.Table<TLanes, TBytes, TVector>(own);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset, TBytes table)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TCodes.Unpack<TLanes, TBytes, TVector>(run, group, offset, table);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Scales<TLanes, TBytes, TVector>(byte* head, int run, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TLanes.Load((float*)head + row);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Minima<TLanes, TBytes, TVector>(byte* head, int run, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
        TZeros.Minima<TLanes, TBytes, TVector>(head, row);
}
