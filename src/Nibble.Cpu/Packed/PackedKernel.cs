using System.Runtime.Intrinsics;
using Nibble.Core.Formats;
using Nibble.Cpu.Kernels;

namespace Nibble.Cpu.Packed;

/// <summary>The kernels of a packed format with one kind of vectors.</summary>
internal abstract unsafe class PackedKernel
{
    /// <summary>How many times 16 rows are multiplied with one token side by side at most.</summary>
    public const int MostTiles = 4;

    /// <summary>Float32 numbers that results take: of one token with all rows, or of eight tokens with 16 rows, of which each pair has two sums at most.</summary>
    public const int ResultCount = 2 * 8 * 16;

    /// <inheritdoc cref="IPackedTile.Kind"/>
    public abstract CodeKind Kind { get; }

    /// <inheritdoc cref="IPackedTile.HasMinimum"/>
    public abstract bool HasMinimum { get; }

    /// <summary>How it multiplies, in a few words.</summary>
    public abstract string Instructions { get; }

    /// <summary>Columns of a tile.</summary>
    public abstract int TileColumns { get; }

    /// <summary>Bytes of a tile of 16 rows.</summary>
    public abstract int TileBytes { get; }

    /// <summary>Bytes of 32 columns of 16 unpacked rows.</summary>
    public abstract int PanelRunBytes { get; }

    /// <inheritdoc cref="IPackedTile.Factor"/>
    public abstract float Factor { get; }

    /// <inheritdoc cref="RowTiles{TFormat, TLanes, TBytes, TVector}.Unpack"/>
    public abstract void Unpack(byte* tiles, int blocks, byte* panel);

    /// <inheritdoc cref="RowTiles{TFormat, TLanes, TBytes, TVector}.Multiply"/>
    public abstract void Multiply(byte* tiles, int count, int blocks, byte* x, byte* next, long nextBytes, float* results);

    /// <inheritdoc cref="PanelTiles{TLanes, TBytes, TVector}.Add"/>
    public abstract void Add(byte* panel, byte* x, int width, int runs, float* results);

    /// <summary>Sums that a (row, token) pair has in <see cref="Add"/>; its product is theirs together.</summary>
    public virtual int Sums => 1;

    /// <summary>What <see cref="Add"/> does with each of twice 16 rows.</summary>
    /// <param name="panel">Unpacked rows.</param>
    /// <param name="next">Bytes from there to the other 16 rows.</param>
    /// <param name="x">A tile of tokens.</param>
    /// <param name="width">Its tokens: 4 or 8.</param>
    /// <param name="runs">Runs of 32 columns.</param>
    /// <param name="results">[width x <see cref="Sums"/> x 16].</param>
    /// <param name="nextResults">Numbers from there to those of the other rows.</param>
    public virtual void AddTwo(byte* panel, long next, byte* x, int width, int runs, float* results, long nextResults)
    {
        Add(panel, x, width, runs, results);
        Add(panel + next, x, width, runs, results + nextResults);
    }

    /// <summary>Multiplications with addition in a round of <see cref="MultiplyRegisters"/>.</summary>
    public abstract int RoundMacs { get; }

    /// <inheritdoc cref="ProductLoop{TLanes, TBytes, TVector}.Run"/>
    public abstract uint MultiplyRegisters(int rounds);
}

/// <summary>The kernels of a block format.</summary>
internal abstract unsafe class BlockKernel : PackedKernel
{
    /// <summary>The format.</summary>
    public abstract BlockFormat Format { get; }

    /// <inheritdoc cref="Packer{TFormat}.Pack"/>
    public abstract bool Pack(byte** rows, int blocks, byte* tiles);
}

/// <summary>The kernels of a packed format.</summary>
internal sealed unsafe class PackedKernel<TFormat, TLanes, TBytes, TVector> : BlockKernel
    where TFormat : struct, IPackedFormat
    where TLanes : struct, IByteLanes<TBytes, TVector>
    where TBytes : struct
    where TVector : struct
{
    public override BlockFormat Format => TFormat.Format;

    public override CodeKind Kind => TFormat.Kind;

    public override bool HasMinimum => TFormat.HasMinimum;

    public override string Instructions => $"{TLanes.Count * 8}-bit {(TLanes.HasDot && TFormat.Kind != CodeKind.Groups ? "dot" : "pair")} products{(TLanes.HasWideSums ? ", 512-bit sums" : "")}";

    public override int TileColumns => TFormat.Columns;

    public override int PanelRunBytes => PanelLayout.Bytes;

    public override int TileBytes => PackedTiles.Bytes<TFormat>();

    public override float Factor => TFormat.Factor;

    public override bool Pack(byte** rows, int blocks, byte* tiles) => Packer<TFormat>.Pack(rows, blocks, tiles);

    public override void Unpack(byte* tiles, int blocks, byte* panel) => RowTiles<TFormat, TLanes, TBytes, TVector>.Unpack(tiles, blocks, panel, default);

    public override void Multiply(byte* tiles, int count, int blocks, byte* x, byte* next, long nextBytes, float* results) =>
        RowTiles<TFormat, TLanes, TBytes, TVector>.Multiply(tiles, count, blocks, x, next, nextBytes, results, default);

    public override void Add(byte* panel, byte* x, int width, int runs, float* results) =>
        PanelTiles<TLanes, TBytes, TVector>.Add(TFormat.Kind, TFormat.HasMinimum, panel, x, width, runs, results);

    public override int RoundMacs => ProductLoop<TLanes, TBytes, TVector>.RoundMacs(TFormat.Kind);

    public override uint MultiplyRegisters(int rounds) => ProductLoop<TLanes, TBytes, TVector>.Run(TFormat.Kind, rounds);
}
