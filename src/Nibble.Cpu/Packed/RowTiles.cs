using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Nibble.Cpu.Packed;

/// <summary>16 packed rows of a format: unpacked for many tokens, or multiplied with one token as they are.</summary>
internal static unsafe class RowTiles<TFormat, TLanes, TBytes, TVector>
    where TFormat : struct, IPackedTile
    where TLanes : struct, IByteLanes<TBytes, TVector>
    where TBytes : struct
    where TVector : struct
{
    /// <summary>Unpacks.</summary>
    /// <param name="tiles">[blocks] tiles.</param>
    /// <param name="blocks">Blocks in a row.</param>
    /// <param name="panel">[blocks x columns / 32 x <see cref="PanelLayout.Bytes"/>], overwritten.</param>
    /// <param name="own">The kernel's table, see <see cref="IPackedTile.Table"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack(byte* tiles, int blocks, byte* panel, Vector128<byte> own)
    {
        TBytes table = TFormat.Table<TLanes, TBytes, TVector>(own);
        int tileBytes = PackedTiles.Bytes<TFormat>();
        for (; blocks > 0; blocks--, tiles += tileBytes)
        {
            byte* codes = tiles + TFormat.HeadBytes;
            for (int run = 0; run < TFormat.Columns / 32; run++, codes += TFormat.RunBytes, panel += PanelLayout.Bytes)
            {
                for (int part = 0; part < 64; part += TLanes.Count)
                {
                    TLanes.Store(Group(codes + part, 0, table), panel + part);
                    TLanes.Store(Group(codes + part, 1, table), panel + 64 + part);
                    TLanes.Store(Group(codes + part, 2, table), panel + 128 + part);
                    TLanes.Store(Group(codes + part, 3, table), panel + 192 + part);
                    TLanes.Store(Group(codes + part, 4, table), panel + 256 + part);
                    TLanes.Store(Group(codes + part, 5, table), panel + 320 + part);
                    TLanes.Store(Group(codes + part, 6, table), panel + 384 + part);
                    TLanes.Store(Group(codes + part, 7, table), panel + 448 + part);
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

    /// <summary>Products of one token and up to <see cref="PackedKernel.MostTiles"/> times 16 rows, which are read side by side: memory gives several streams faster than one.</summary>
    /// <param name="tiles">[count x blocks] tiles.</param>
    /// <param name="count">How many times 16 rows.</param>
    /// <param name="blocks">Blocks in a row.</param>
    /// <param name="x">A tile of one token (<see cref="TokenTiles"/>).</param>
    /// <param name="next">What will be read after these tiles.</param>
    /// <param name="nextBytes">Bytes of 16 rows there.</param>
    /// <param name="results">[<see cref="PackedKernel.ResultCount"/>]; the first count x 16 are overwritten with the products, the others hold nothing of use.</param>
    /// <param name="own">The kernel's table, see <see cref="IPackedTile.Table"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Multiply(byte* tiles, int count, int blocks, byte* x, byte* next, long nextBytes, float* results, Vector128<byte> own)
    {
        new Span<float>(results, 16 * count).Clear();
        TBytes table = TFormat.Table<TLanes, TBytes, TVector>(own);
        int tileBytes = PackedTiles.Bytes<TFormat>(), share = tileBytes / (TFormat.Columns / 32);
        long rowBytes = (long)blocks * tileBytes, toNext = next - tiles;
        for (; blocks > 0; blocks--, tiles += tileBytes)
        {
            long step = nextBytes - rowBytes, first = ReadAhead.Ahead((long)blocks * tileBytes, rowBytes, toNext, ref step);
            for (int run = 0; run < TFormat.Columns / 32; run++, x += TokenTiles.RunBytes)
            {
                byte* tile = tiles;
                float* sums = results;
                long ahead = first;
                for (int row = 0; row < count; row++, tile += rowBytes, ahead += step)
                {
                    byte* codes = tile + TFormat.HeadBytes + (run * TFormat.RunBytes);
                    // Heads too: left to the processor, those of Q4_K (320 bytes of 2368) cost a seventh of the speed on a Zen 5 core.
                    ReadAhead.Of(tile + (run * share) + ahead, share);
                    // The compiler has by now spent on Q6_K what it grants a method, and would call TLanes.Store; what it knows itself it does not count.
                    for (int lane = 0; lane < 16; lane += TLanes.Count / 4, sums += TLanes.Count / 4)
                        Unsafe.WriteUnaligned(sums, Run(tile, codes + (4 * lane), run, lane, x, table, TLanes.Load(sums)));
                }
            }
        }
    }

    // A run's products, in the same steps as PanelTiles has them.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Run(byte* tile, byte* codes, int run, int lane, byte* x, TBytes table, TVector result)
    {
        if (TFormat.Kind == CodeKind.Groups) return Groups(tile, codes, run, lane, x, table, result);
        TBytes sum = TLanes.HasDot ? Dots(codes, x, table) : TFormat.Kind == CodeKind.Bytes ? Bytes(codes, x, table) : Pairs(codes, x, table);
        float* scales = (float*)(x + 32);
        result = TLanes.MultiplyAdd(TLanes.ToFloat(sum), TLanes.Multiply(TFormat.Scales<TLanes, TBytes, TVector>(tile, run, lane), TLanes.Broadcast(scales[0])), result);
        return TFormat.HasMinimum ? TLanes.MultiplyAdd(TFormat.Minima<TLanes, TBytes, TVector>(tile, run, lane), TLanes.Broadcast(scales[1]), result) : result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TBytes Pairs(byte* codes, byte* x, TBytes table)
    {
        TBytes a = TLanes.Add16(TLanes.Add16(Pair(codes, x, 0, table), Pair(codes, x, 1, table)), TLanes.Add16(Pair(codes, x, 2, table), Pair(codes, x, 3, table)));
        TBytes b = TLanes.Add16(TLanes.Add16(Pair(codes, x, 4, table), Pair(codes, x, 5, table)), TLanes.Add16(Pair(codes, x, 6, table), Pair(codes, x, 7, table)));
        TBytes ones = TLanes.Repeat(1);
        TBytes sum = TFormat.Kind == CodeKind.Nibbles
            ? TLanes.PairProducts16(TLanes.Add16(a, b), ones)
            : TLanes.Add32(TLanes.PairProducts16(a, ones), TLanes.PairProducts16(b, ones));
        return TFormat.HasMinimum ? sum : TLanes.Add32(sum, Offset(x));
    }

    // -8 or -16 times the sum of the token's codes.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TBytes Offset(byte* x) => TFormat.Kind == CodeKind.FiveBits ? TLanes.Left32(TLanes.Repeat(x + 44), 1) : TLanes.Repeat(x + 44);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TBytes Dots(byte* codes, byte* x, TBytes table)
    {
        TBytes a = TFormat.Kind == CodeKind.Bytes ? TLanes.Offset(x + 44) : TFormat.HasMinimum ? TLanes.Zero : Offset(x), b = TLanes.Zero;
        a = Dot(Dot(Dot(Dot(a, codes, x, 0, table), codes, x, 1, table), codes, x, 2, table), codes, x, 3, table);
        b = Dot(Dot(Dot(Dot(b, codes, x, 4, table), codes, x, 5, table), codes, x, 6, table), codes, x, 7, table);
        return TLanes.Add32(a, b);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TBytes Bytes(byte* codes, byte* x, TBytes table)
    {
        TBytes low = TLanes.Zero, high = TLanes.Zero;
        Halves(Group(codes, 0, table), TLanes.Repeat(x), ref low, ref high);
        Halves(Group(codes, 1, table), TLanes.Repeat(x + 4), ref low, ref high);
        Halves(Group(codes, 2, table), TLanes.Repeat(x + 8), ref low, ref high);
        Halves(Group(codes, 3, table), TLanes.Repeat(x + 12), ref low, ref high);
        Halves(Group(codes, 4, table), TLanes.Repeat(x + 16), ref low, ref high);
        Halves(Group(codes, 5, table), TLanes.Repeat(x + 20), ref low, ref high);
        Halves(Group(codes, 6, table), TLanes.Repeat(x + 24), ref low, ref high);
        Halves(Group(codes, 7, table), TLanes.Repeat(x + 28), ref low, ref high);
        return TLanes.Add32(TLanes.Add32(TLanes.PairProducts16(low, TLanes.Repeat(1)), TLanes.PairProducts16(high, TLanes.Repeat(16))), TLanes.Left32(TLanes.Repeat(x + 44), 4));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Groups(byte* tile, byte* codes, int run, int lane, byte* x, TBytes table, TVector result)
    {
        float* scales = (float*)(x + 32);
        TBytes sum = TLanes.PairProducts16(TFormat.GroupMinima<TLanes, TBytes, TVector>(tile, run, lane), TLanes.Repeat(x + 40));
        if (TFormat.HasMinimum)
        {
            TVector minimum = TLanes.Multiply(TFormat.Minima<TLanes, TBytes, TVector>(tile, run, lane), TLanes.Broadcast(scales[0]));
            result = TLanes.MultiplyAdd(TLanes.ToFloat(sum), minimum, result);
            sum = TLanes.Zero;
        }

        TBytes scale = TFormat.GroupScales<TLanes, TBytes, TVector>(tile, 2 * run, lane);
        TBytes a = TLanes.PairProducts16(TLanes.Add16(Pair(codes, x, 0, table), Pair(codes, x, 1, table)), scale);
        TBytes b = TLanes.PairProducts16(TLanes.Add16(Pair(codes, x, 2, table), Pair(codes, x, 3, table)), scale);
        sum = TLanes.Add32(sum, TLanes.Add32(a, b));
        scale = TFormat.GroupScales<TLanes, TBytes, TVector>(tile, (2 * run) + 1, lane);
        a = TLanes.PairProducts16(TLanes.Add16(Pair(codes, x, 4, table), Pair(codes, x, 5, table)), scale);
        b = TLanes.PairProducts16(TLanes.Add16(Pair(codes, x, 6, table), Pair(codes, x, 7, table)), scale);
        sum = TLanes.Add32(sum, TLanes.Add32(a, b));
        return TLanes.MultiplyAdd(TLanes.ToFloat(sum), TLanes.Multiply(TFormat.Scales<TLanes, TBytes, TVector>(tile, run, lane), TLanes.Broadcast(scales[0])), result);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TBytes Group(byte* run, int group, TBytes table) => TFormat.Unpack<TLanes, TBytes, TVector>(run, group, 0, table);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TBytes Pair(byte* run, byte* x, int group, TBytes table) => TLanes.PairProducts(Group(run, group, table), TLanes.Repeat(x + (4 * group)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TBytes Dot(TBytes sum, byte* run, byte* x, int group, TBytes table)
    {
        TBytes codes = Group(run, group, table);
        return TLanes.Dot(sum, TFormat.Kind == CodeKind.Bytes ? TLanes.Centre(codes) : codes, TLanes.Repeat(x + (4 * group)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Halves(TBytes codes, TBytes x, ref TBytes low, ref TBytes high)
    {
        low = TLanes.Add16(low, TLanes.PairProducts(TLanes.Bits(codes, 0, 15), x));
        high = TLanes.Add16(high, TLanes.PairProducts(TLanes.Bits(codes, 4, 15), x));
    }
}
