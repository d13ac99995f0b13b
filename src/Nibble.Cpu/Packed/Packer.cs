using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Nibble.Cpu.Packed;

/// <summary>Packs rows of a format.</summary>
internal static unsafe class Packer<TFormat>
    where TFormat : struct, IPackedFormat
{
    /// <summary>Bytes of a tile.</summary>
    public static int TileBytes => TFormat.HeadBytes + (TFormat.Columns / 32 * TFormat.RunBytes);

    /// <summary>Packs 16 rows.</summary>
    /// <param name="rows">[16] addresses; rows that are not there are null and become zero scales.</param>
    /// <param name="blocks">Blocks in a row.</param>
    /// <param name="tiles">[blocks x <see cref="TileBytes"/>], overwritten.</param>
    /// <returns>Whether all scales have a place; the tiles are undefined where not.</returns>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static bool Pack(byte** rows, int blocks, byte* tiles)
    {
        int columns = TFormat.Columns, blockBytes = TFormat.Format.BlockBytes;
        byte* codes = stackalloc byte[16 * 256];
        byte* groups = stackalloc byte[512];
        new Span<byte>(codes, 16 * 256).Clear();
        bool fits = true;
        for (int block = 0; block < blocks; block++, tiles += TileBytes)
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
                for (int row = 0; row < 16; row++)
                {
                    uint* from = (uint*)(codes + (row * columns) + (32 * run));
                    uint* to = (uint*)groups + row;
                    for (int group = 0; group < 8; group++)
                        to[16 * group] = from[group];
                }

                TFormat.PackRun(groups, tiles + TFormat.HeadBytes + (run * TFormat.RunBytes));
            }
        }

        return fits;
    }
}
