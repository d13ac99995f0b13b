using System.Runtime.CompilerServices;

namespace Nibble.Cpu.Packed;

/// <summary>16 packed rows of a format: unpacked for many tokens, or multiplied with one token as they are.</summary>
internal static unsafe class RowTiles<TFormat, TLanes, TBytes, TVector>
    where TFormat : struct, IPackedFormat
    where TLanes : struct, IByteLanes<TBytes, TVector>
    where TBytes : struct
    where TVector : struct
{
    /// <summary>Unpacks.</summary>
    /// <param name="tiles">[blocks] tiles.</param>
    /// <param name="blocks">Blocks in a row.</param>
    /// <param name="panel">[blocks x columns / 32 x <see cref="PanelLayout.Bytes"/>], overwritten.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack(byte* tiles, int blocks, byte* panel)
    {
        TBytes table = TFormat.Table<TLanes, TBytes, TVector>();
        for (; blocks > 0; blocks--, tiles += Packer<TFormat>.TileBytes)
        {
            byte* codes = tiles + TFormat.HeadBytes;
            for (int run = 0; run < TFormat.Columns / 32; run++, codes += TFormat.RunBytes, panel += PanelLayout.Bytes)
            {
                for (int part = 0; part < 64; part += TLanes.Count)
                {
                    TLanes.Store(Group(codes, 0, part, table), panel + part);
                    TLanes.Store(Group(codes, 1, part, table), panel + 64 + part);
                    TLanes.Store(Group(codes, 2, part, table), panel + 128 + part);
                    TLanes.Store(Group(codes, 3, part, table), panel + 192 + part);
                    TLanes.Store(Group(codes, 4, part, table), panel + 256 + part);
                    TLanes.Store(Group(codes, 5, part, table), panel + 320 + part);
                    TLanes.Store(Group(codes, 6, part, table), panel + 384 + part);
                    TLanes.Store(Group(codes, 7, part, table), panel + 448 + part);
                    int row = part / 4;
                    TLanes.Store(TFormat.Scales<TLanes, TBytes, TVector>(tiles, run, row), (float*)(panel + PanelLayout.Scales + part));
                    if (TFormat.HasMinimum) TLanes.Store(TFormat.Minima<TLanes, TBytes, TVector>(tiles, run, row), (float*)(panel + PanelLayout.Minima + part));
                    if (TFormat.Kind != CodeKind.Groups) continue;
                    TLanes.Store(TFormat.GroupScales<TLanes, TBytes, TVector>(tiles, 2 * run, row), panel + PanelLayout.GroupScales + part);
                    TLanes.Store(TFormat.GroupScales<TLanes, TBytes, TVector>(tiles, (2 * run) + 1, row), panel + PanelLayout.GroupScales + 64 + part);
                    TLanes.Store(TFormat.GroupMinima<TLanes, TBytes, TVector>(tiles, run, row), panel + PanelLayout.GroupMinima + part);
                }
            }
        }
    }

    /// <summary>results[r] = product of row r and one token.</summary>
    /// <param name="tiles">[blocks] tiles.</param>
    /// <param name="blocks">Blocks in a row.</param>
    /// <param name="x">A tile of one token (<see cref="TokenTiles"/>).</param>
    /// <param name="results">[16], overwritten.</param>
    public static void Multiply(byte* tiles, int blocks, byte* x, float* results)
    {
        for (int part = 0; part < 64; part += TLanes.Count)
        {
            if (TFormat.Kind == CodeKind.Groups) Groups(tiles, blocks, x, part, results);
            else if (TLanes.HasDot) Dots(tiles, blocks, x, part, results);
            else if (TFormat.Kind == CodeKind.Bytes) Bytes(tiles, blocks, x, part, results);
            else Pairs(tiles, blocks, x, part, results);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TBytes Group(byte* run, int group, int part, TBytes table) => TFormat.Unpack<TLanes, TBytes, TVector>(run, group, part, table);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TBytes Pair(byte* run, byte* x, int group, int part, TBytes table) => TLanes.PairProducts(Group(run, group, part, table), TLanes.Repeat(x + (4 * group)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TBytes Dot(TBytes sum, byte* run, byte* x, int group, int part, TBytes table)
    {
        TBytes codes = Group(run, group, part, table);
        return TLanes.Dot(sum, TFormat.Kind == CodeKind.Bytes ? TLanes.Centre(codes) : codes, TLanes.Repeat(x + (4 * group)));
    }

    // Sum and minimum of a run, in the same steps as PanelTiles has them.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Finish(byte* tile, int run, int part, byte* x, TBytes sum, TVector result)
    {
        float* scales = (float*)(x + 32);
        result = TLanes.MultiplyAdd(TLanes.ToFloat(sum), TLanes.Multiply(TFormat.Scales<TLanes, TBytes, TVector>(tile, run, part / 4), TLanes.Broadcast(scales[0])), result);
        return TFormat.HasMinimum && TFormat.Kind != CodeKind.Groups
            ? TLanes.MultiplyAdd(TFormat.Minima<TLanes, TBytes, TVector>(tile, run, part / 4), TLanes.Broadcast(scales[1]), result)
            : result;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Pairs(byte* tiles, int blocks, byte* x, int part, float* results)
    {
        TBytes ones = TLanes.Repeat(1);
        TVector result = TLanes.Broadcast(0);
        TBytes table = TFormat.Table<TLanes, TBytes, TVector>();
        for (; blocks > 0; blocks--, tiles += Packer<TFormat>.TileBytes)
        {
            byte* codes = tiles + TFormat.HeadBytes;
            for (int run = 0; run < TFormat.Columns / 32; run++, codes += TFormat.RunBytes, x += 48)
            {
                TBytes a = TLanes.Add16(TLanes.Add16(Pair(codes, x, 0, part, table), Pair(codes, x, 1, part, table)), TLanes.Add16(Pair(codes, x, 2, part, table), Pair(codes, x, 3, part, table)));
                TBytes b = TLanes.Add16(TLanes.Add16(Pair(codes, x, 4, part, table), Pair(codes, x, 5, part, table)), TLanes.Add16(Pair(codes, x, 6, part, table), Pair(codes, x, 7, part, table)));
                TBytes sum = TFormat.Kind == CodeKind.Nibbles
                    ? TLanes.PairProducts16(TLanes.Add16(a, b), ones)
                    : TLanes.Add32(TLanes.PairProducts16(a, ones), TLanes.PairProducts16(b, ones));
                result = Finish(tiles, run, part, x, sum, result);
            }
        }

        TLanes.Store(result, results + (part / 4));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Dots(byte* tiles, int blocks, byte* x, int part, float* results)
    {
        TVector result = TLanes.Broadcast(0);
        TBytes table = TFormat.Table<TLanes, TBytes, TVector>();
        for (; blocks > 0; blocks--, tiles += Packer<TFormat>.TileBytes)
        {
            byte* codes = tiles + TFormat.HeadBytes;
            for (int run = 0; run < TFormat.Columns / 32; run++, codes += TFormat.RunBytes, x += 48)
            {
                TBytes a = TFormat.Kind == CodeKind.Bytes ? TLanes.Offset(x + 44) : TLanes.Zero, b = TLanes.Zero;
                a = Dot(Dot(Dot(Dot(a, codes, x, 0, part, table), codes, x, 1, part, table), codes, x, 2, part, table), codes, x, 3, part, table);
                b = Dot(Dot(Dot(Dot(b, codes, x, 4, part, table), codes, x, 5, part, table), codes, x, 6, part, table), codes, x, 7, part, table);
                result = Finish(tiles, run, part, x, TLanes.Add32(a, b), result);
            }
        }

        TLanes.Store(result, results + (part / 4));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Bytes(byte* tiles, int blocks, byte* x, int part, float* results)
    {
        TBytes ones = TLanes.Repeat(1), sixteens = TLanes.Repeat(16);
        TVector result = TLanes.Broadcast(0);
        TBytes table = TFormat.Table<TLanes, TBytes, TVector>();
        for (; blocks > 0; blocks--, tiles += Packer<TFormat>.TileBytes)
        {
            byte* codes = tiles + TFormat.HeadBytes;
            for (int run = 0; run < TFormat.Columns / 32; run++, codes += TFormat.RunBytes, x += 48)
            {
                TBytes low = TLanes.Zero, high = TLanes.Zero;
                Halves(Group(codes, 0, part, table), TLanes.Repeat(x), ref low, ref high);
                Halves(Group(codes, 1, part, table), TLanes.Repeat(x + 4), ref low, ref high);
                Halves(Group(codes, 2, part, table), TLanes.Repeat(x + 8), ref low, ref high);
                Halves(Group(codes, 3, part, table), TLanes.Repeat(x + 12), ref low, ref high);
                Halves(Group(codes, 4, part, table), TLanes.Repeat(x + 16), ref low, ref high);
                Halves(Group(codes, 5, part, table), TLanes.Repeat(x + 20), ref low, ref high);
                Halves(Group(codes, 6, part, table), TLanes.Repeat(x + 24), ref low, ref high);
                Halves(Group(codes, 7, part, table), TLanes.Repeat(x + 28), ref low, ref high);
                TBytes sum = TLanes.Add32(TLanes.Add32(TLanes.PairProducts16(low, ones), TLanes.PairProducts16(high, sixteens)), TLanes.Repeat(x + 44));
                result = Finish(tiles, run, part, x, sum, result);
            }
        }

        TLanes.Store(result, results + (part / 4));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Halves(TBytes codes, TBytes x, ref TBytes low, ref TBytes high)
    {
        low = TLanes.Add16(low, TLanes.PairProducts(TLanes.Bits(codes, 0, 15), x));
        high = TLanes.Add16(high, TLanes.PairProducts(TLanes.Bits(codes, 4, 15), x));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Groups(byte* tiles, int blocks, byte* x, int part, float* results)
    {
        TVector result = TLanes.Broadcast(0);
        TBytes table = TFormat.Table<TLanes, TBytes, TVector>();
        for (; blocks > 0; blocks--, tiles += Packer<TFormat>.TileBytes)
        {
            byte* codes = tiles + TFormat.HeadBytes;
            for (int run = 0; run < TFormat.Columns / 32; run++, codes += TFormat.RunBytes, x += 48)
            {
                int row = part / 4;
                TBytes sum = TLanes.PairProducts16(TFormat.GroupMinima<TLanes, TBytes, TVector>(tiles, run, row), TLanes.Repeat(x + 40));
                if (TFormat.HasMinimum)
                {
                    TVector minimum = TLanes.Multiply(TFormat.Minima<TLanes, TBytes, TVector>(tiles, run, row), TLanes.Broadcast(*(float*)(x + 32)));
                    result = TLanes.MultiplyAdd(TLanes.ToFloat(sum), minimum, result);
                    sum = TLanes.Zero;
                }

                TBytes scale = TFormat.GroupScales<TLanes, TBytes, TVector>(tiles, 2 * run, row);
                TBytes a = TLanes.PairProducts16(TLanes.Add16(Pair(codes, x, 0, part, table), Pair(codes, x, 1, part, table)), scale);
                TBytes b = TLanes.PairProducts16(TLanes.Add16(Pair(codes, x, 2, part, table), Pair(codes, x, 3, part, table)), scale);
                sum = TLanes.Add32(sum, TLanes.Add32(a, b));
                scale = TFormat.GroupScales<TLanes, TBytes, TVector>(tiles, (2 * run) + 1, row);
                a = TLanes.PairProducts16(TLanes.Add16(Pair(codes, x, 4, part, table), Pair(codes, x, 5, part, table)), scale);
                b = TLanes.PairProducts16(TLanes.Add16(Pair(codes, x, 6, part, table), Pair(codes, x, 7, part, table)), scale);
                result = Finish(tiles, run, part, x, TLanes.Add32(sum, TLanes.Add32(a, b)), result);
            }
        }

        TLanes.Store(result, results + (part / 4));
    }
}
