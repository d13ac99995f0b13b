using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Nibble.Cpu.Packed;

/// <summary>What packing has in common whatever the tile.</summary>
internal static unsafe class PackedTiles
{
    /// <summary>Bytes of a tile.</summary>
    public static int Bytes<TTile>()
        where TTile : struct, IPackedTile => TTile.HeadBytes + (TTile.Columns / 32 * TTile.RunBytes);

    /// <summary>Puts 32 columns of 16 rows side by side, as unpacking gives them.</summary>
    /// <param name="codes">The first row's codes.</param>
    /// <param name="stride">From one row's codes to the next one's.</param>
    /// <param name="groups">[8 groups x 64], overwritten.</param>
    public static void Interleave(byte* codes, long stride, byte* groups)
    {
        for (int row = 0; row < 16; row++)
        {
            uint* from = (uint*)(codes + (row * stride));
            uint* to = (uint*)groups + row;
            for (int group = 0; group < 8; group++)
                to[16 * group] = from[group];
        }
    }
}

/// <summary>Packs rows of a format.</summary>
internal static unsafe class Packer<TFormat>
    where TFormat : struct, IPackedFormat
{
    /// <summary>Packs 16 rows.</summary>
    /// <param name="rows">[16] addresses; rows that are not there are null and become zero scales.</param>
    /// <param name="blocks">Blocks in a row.</param>
    /// <param name="tiles">[blocks x <see cref="PackedTiles.Bytes"/>], overwritten.</param>
    /// <returns>Whether all scales have a place; the tiles are undefined where not.</returns>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static bool Pack(byte** rows, int blocks, byte* tiles)
    {
        int columns = TFormat.Columns, blockBytes = TFormat.Format.BlockBytes;
        byte* codes = stackalloc byte[16 * 256];
        byte* groups = stackalloc byte[512];
        new Span<byte>(codes, 16 * 256).Clear();
        bool fits = true;
        for (int block = 0; block < blocks; block++, tiles += PackedTiles.Bytes<TFormat>())
        {
            new Span<byte>(tiles, TFormat.HeadBytes).Clear();
            for (int row = 0; row < 16; row++)
            {
                if (rows[row] == null) continue;
                byte* source = rows[row] + ((long)block * blockBytes);
                fits &= TFormat.PackHead(source, tiles, row);
                TFormat.Codes(source, codes + (row * columns));
            }

            for (int run = 0; run < columns / 32; run++)
            {
                PackedTiles.Interleave(codes + (32 * run), columns, groups);
                TFormat.PackRun(groups, tiles + TFormat.HeadBytes + (run * TFormat.RunBytes));
            }
        }

        return fits;
    }
}
