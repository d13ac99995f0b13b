using System.Runtime.Intrinsics;
using Nibble.Core.Formats;

namespace Nibble.Cpu.Packed;

/// <summary>What the codes of a packed format are at most, and how long a column group its scale holds for: this decides which tile multiplies them.</summary>
internal enum CodeKind
{
    /// <summary>0 to 15, a scale per 32 columns and either a minimum or 8 that all codes are less by: eight pair products fit into 16 bits.</summary>
    Nibbles,

    /// <summary>0 to 31, a scale per 32 columns and either a minimum or 16 that all codes are less by: four pair products fit.</summary>
    FiveBits,

    /// <summary>0 to 255, standing for the code less 128, a scale per 32 columns.</summary>
    Bytes,

    /// <summary>0 to 63, a whole scale per 16 columns times a float one: two pair products fit.</summary>
    Groups,

    /// <summary>No codes but float32 values; activations are float32 too.</summary>
    Floats,
}

/// <summary>
/// Codes and their scales in the order in which products read them: 16 rows together, a lane of a vector a row. A tile is 16 rows of <see cref="Columns"/> columns: first the head (scales of 16 rows),
/// then the codes, 32 columns (a run) after another. Group g of a run, columns 4 g to 4 g + 3, is 64 bytes when unpacked: row r has bytes 4 r to 4 r + 3.
/// </summary>
internal unsafe interface IPackedTile
{
    /// <summary>Columns of a tile.</summary>
    static abstract int Columns { get; }

    /// <summary>Bytes of the head.</summary>
    static abstract int HeadBytes { get; }

    /// <summary>Bytes of the codes of 32 columns.</summary>
    static abstract int RunBytes { get; }

    /// <summary>Which tile multiplies it.</summary>
    static abstract CodeKind Kind { get; }

    /// <summary>Whether a minimum is added: code times scale, plus minimum. Without one, nibbles count less 8 and codes of five bits less 16.</summary>
    static virtual bool HasMinimum => false;

    /// <summary>What products are multiplied by at last, for scales and minima are kept divided by it.</summary>
    static virtual float Factor => Heads.HalfFactor;

    /// <summary>Packs a run.</summary>
    /// <param name="codes">[8 groups x 64], as unpacking gives them.</param>
    /// <param name="run">[<see cref="RunBytes"/>], overwritten.</param>
    static abstract void PackRun(byte* codes, byte* run);

    /// <summary>The table that codes are looked up in, where there is one.</summary>
    /// <param name="own">The kernel's own table, for formats that leave it to the weight.</param>
    static virtual TBytes Table<TLanes, TBytes, TVector>(Vector128<byte> own)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct => default;

    /// <summary>Unpacks a part of a group.</summary>
    /// <param name="run">The run.</param>
    /// <param name="group">0 to 7.</param>
    /// <param name="offset">The part's first byte of 64.</param>
    /// <param name="table"><see cref="Table"/>.</param>
    static abstract TBytes Unpack<TLanes, TBytes, TVector>(byte* run, int group, int offset, TBytes table)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct;

    /// <summary>The scales of a run (<see cref="CodeKind.Groups"/>: the float ones of the tile), a lane a row.</summary>
    /// <param name="head">The head.</param>
    /// <param name="run">Which run of the tile.</param>
    /// <param name="row">The first lane's row.</param>
    static abstract TVector Scales<TLanes, TBytes, TVector>(byte* head, int run, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct;

    /// <summary>The minima of a run, a lane a row; of <see cref="CodeKind.Groups"/> what the whole minima are multiplied by. Only where <see cref="HasMinimum"/>.</summary>
    static virtual TVector Minima<TLanes, TBytes, TVector>(byte* head, int run, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct => default;

    /// <summary>Of <see cref="CodeKind.Groups"/>: the whole scales of 16 columns, a lane a row, as a pair of equal 16-bit numbers.</summary>
    /// <param name="head">The head.</param>
    /// <param name="sixteen">Which 16 columns of the tile.</param>
    /// <param name="row">The first lane's row.</param>
    static virtual TBytes GroupScales<TLanes, TBytes, TVector>(byte* head, int sixteen, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct => default;

    /// <summary>Of <see cref="CodeKind.Groups"/>: the whole minima of the two 16 columns of a run, a lane a row, as a pair of 16-bit numbers. What codes are less by counts as a minimum.</summary>
    /// <param name="head">The head.</param>
    /// <param name="run">Which run of the tile.</param>
    /// <param name="row">The first lane's row.</param>
    static virtual TBytes GroupMinima<TLanes, TBytes, TVector>(byte* head, int run, int row)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct => default;
}

/// <summary>A block format in packed order; a tile has the columns of a block.</summary>
internal unsafe interface IPackedFormat : IPackedTile
{
    /// <summary>The format.</summary>
    static abstract BlockFormat Format { get; }

    /// <summary>Puts a row's block into the head.</summary>
    /// <param name="block">The block.</param>
    /// <param name="head">The head.</param>
    /// <param name="row">0 to 15.</param>
    /// <returns>Whether its scales have a place there.</returns>
    static abstract bool PackHead(byte* block, byte* head, int row);

    /// <summary>The codes of a row's block, as unpacking gives them.</summary>
    /// <param name="block">The block.</param>
    /// <param name="codes">[columns], overwritten.</param>
    static abstract void Codes(byte* block, byte* codes);
}
