using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Nibble.Core.Encodings;

namespace Nibble.Cpu.Packed;

/// <summary>The kernels of an encoded weight with one kind of vectors.</summary>
internal abstract unsafe class EncodedKernel : PackedKernel
{
    /// <summary>What weights and their minima must stay below: activations are multiplied by 2^64 (<see cref="Heads.TokenFactor"/>).</summary>
    public const float Limit = 1L << 32;

    /// <summary>Packs 16 rows.</summary>
    /// <param name="source">The weight.</param>
    /// <param name="first">The first row, counted over all matrices.</param>
    /// <param name="rows">Rows that are there, at most 16; the others become zero.</param>
    /// <param name="tiles">[columns / <see cref="PackedKernel.TileColumns"/> x <see cref="PackedKernel.TileBytes"/>], overwritten.</param>
    /// <returns>Whether all scales and codes have a place; the tiles are undefined where not.</returns>
    public bool Pack(EncodedTensor source, long first, int rows, byte* tiles)
    {
        int columns = source.Columns, run = source.ScaleRun, runs = columns / run;
        byte[] codes = ArrayPool<byte>.Shared.Rent(16 * columns);
        float[] scales = ArrayPool<float>.Shared.Rent(16 * runs), zeros = ArrayPool<float>.Shared.Rent(16 * runs);
        codes.AsSpan(0, 16 * columns).Clear();
        for (int row = 0; row < rows; row++)
        {
            source.CopyCodes(first + row, codes.AsSpan(row * columns, columns));
            source.CopyScales(first + row, scales.AsSpan(row * runs, runs), zeros.AsSpan(row * runs, runs));
        }

        bool fits;
        fixed (byte* allCodes = codes)
        fixed (float* allScales = scales, allZeros = zeros)
            fits = PackTiles(allCodes, allScales, allZeros, rows, columns, run, tiles);
        ArrayPool<byte>.Shared.Return(codes);
        ArrayPool<float>.Shared.Return(scales);
        ArrayPool<float>.Shared.Return(zeros);
        return fits;
    }

    /// <summary>Packs 16 rows.</summary>
    /// <param name="codes">[16 x columns].</param>
    /// <param name="scales">[rows x columns / run].</param>
    /// <param name="zeros">As the scales.</param>
    /// <param name="rows">Rows that are there.</param>
    /// <param name="columns">Values in a row.</param>
    /// <param name="run">Columns that share a scale: a multiple of those of a tile.</param>
    /// <param name="tiles">Overwritten.</param>
    protected abstract bool PackTiles(byte* codes, float* scales, float* zeros, int rows, int columns, int run, byte* tiles);
}

/// <summary>The kernels of an encoded weight whose codes are multiplied with 8-bit activations.</summary>
/// <param name="table">What nibbles are looked up in, where they are.</param>
internal sealed unsafe class EncodedKernel<TTile, TLanes, TBytes, TVector>(TableBytes table) : EncodedKernel
    where TTile : struct, IEncodedTile
    where TLanes : struct, IByteLanes<TBytes, TVector>
    where TBytes : struct
    where TVector : struct
{
    public override CodeKind Kind => TTile.Kind;

    public override bool HasMinimum => TTile.HasMinimum;

    public override string Instructions => $"{TLanes.Count * 8}-bit {(TLanes.HasDot ? "dot" : "pair")} products{(TLanes.HasWideSums ? ", 512-bit sums" : "")}";

    public override int TileColumns => TTile.Columns;

    public override int PanelRunBytes => PanelLayout.Bytes;

    public override int TileBytes => PackedTiles.Bytes<TTile>();

    public override float Factor => TTile.Factor;

    public override int RoundMacs => ProductLoop<TLanes, TBytes, TVector>.RoundMacs(TTile.Kind);

    public override void Unpack(byte* tiles, int blocks, byte* panel) => RowTiles<TTile, TLanes, TBytes, TVector>.Unpack(tiles, blocks, panel, table.Bytes);

    public override void Multiply(byte* tiles, int count, int blocks, byte* x, byte* next, long nextBytes, float* results) =>
        RowTiles<TTile, TLanes, TBytes, TVector>.Multiply(tiles, count, blocks, x, next, nextBytes, results, table.Bytes);

    public override void Add(byte* panel, byte* x, int width, int runs, float* results) =>
        PanelTiles<TLanes, TBytes, TVector>.Add(TTile.Kind, TTile.HasMinimum, panel, x, width, runs, results);

    public override uint MultiplyRegisters(int rounds) => ProductLoop<TLanes, TBytes, TVector>.Run(TTile.Kind, rounds);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    protected override bool PackTiles(byte* codes, float* scales, float* zeros, int rows, int columns, int run, byte* tiles)
    {
        byte* groups = stackalloc byte[512];
        bool fits = true;
        for (int column = 0; column < columns; column += TTile.Columns, tiles += TileBytes)
        {
            new Span<byte>(tiles, TTile.HeadBytes).Clear();
            for (int row = 0; row < rows; row++)
            {
                int at = (row * (columns / run)) + (column / run);
                fits &= TTile.PackHead(tiles, row, scales[at] * table.Unit, zeros[at]);
            }

            for (int part = 0; part < TTile.Columns / 32; part++)
            {
                PackedTiles.Interleave(codes + column + (32 * part), columns, groups);
                TTile.PackRun(groups, tiles + TTile.HeadBytes + (part * TTile.RunBytes));
            }
        }

        return fits;
    }
}
