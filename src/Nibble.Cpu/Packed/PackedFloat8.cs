using System.Runtime.CompilerServices;

namespace Nibble.Cpu.Packed;

/// <summary>The kernels of E4M3 floats with a scale for some columns: decoded as the encoding says, and multiplied in float32 with activations as they are.</summary>
/// <remarks>
/// A code's seven lower bits, moved to where float32 has exponent and fraction, are 2^-120 times its value, subnormal ones included; scales are kept times 2^60, activations bring 2^64, and results are divided by 2^4.
/// A (row, token) pair has two sums, of the even and of the odd columns, from first to last, whatever the other tokens.
/// </remarks>
internal sealed unsafe class PackedFloat8<TColumns, TLanes, TBytes, TVector> : EncodedKernel
    where TColumns : struct, IEncodedColumns
    where TLanes : struct, IByteLanes<TBytes, TVector>
    where TBytes : struct
    where TVector : struct
{
    private const float ScaleFactor = 1L << 60, LargestCode = 448;
    private const uint SignAndValue = 0x87F00000;

    public override CodeKind Kind => CodeKind.Floats;

    public override bool HasMinimum => false;

    public override string Instructions => $"{TLanes.Count * 8}-bit float32";

    public override int TileColumns => TColumns.Count;

    public override int TileBytes => 64 + (16 * TColumns.Count);

    public override int PanelRunBytes => 32 * 16 * 4;

    public override float Factor => 1f / 16;

    public override int RoundMacs => ProductLoop<TLanes, TBytes, TVector>.RoundMacs(Kind);

    public override uint MultiplyRegisters(int rounds) => ProductLoop<TLanes, TBytes, TVector>.Run(Kind, rounds);

    public override int Sums => 2;

    public override void Add(byte* panel, byte* x, int width, int runs, float* results) => FloatPanels<TLanes, TBytes, TVector>.Add(panel, x, width, runs, results);

    public override void AddTwo(byte* panel, long next, byte* x, int width, int runs, float* results, long nextResults)
    {
        if (TLanes.Count == 64) FloatPanels<TLanes, TBytes, TVector>.AddTwo(panel, next, x, width, runs, results, nextResults);
        else base.AddTwo(panel, next, x, width, runs, results, nextResults);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void Unpack(byte* tiles, int blocks, byte* panel)
    {
        for (; blocks > 0; blocks--, tiles += TileBytes)
        {
            byte* four = tiles + 64;
            for (int column = 0; column < TColumns.Count; column += 4, panel += 256, four += 64)
            {
                for (int part = 0; part < 64; part += TLanes.Count)
                {
                    TVector scale = TLanes.Load((float*)(tiles + part));
                    TBytes codes = TLanes.Load(four + part);
                    TLanes.Store(TLanes.Multiply(First(codes), scale), (float*)(panel + part));
                    TLanes.Store(TLanes.Multiply(Second(codes), scale), (float*)(panel + 64 + part));
                    TLanes.Store(TLanes.Multiply(Third(codes), scale), (float*)(panel + 128 + part));
                    TLanes.Store(TLanes.Multiply(Fourth(codes), scale), (float*)(panel + 192 + part));
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void Multiply(byte* tiles, int count, int blocks, byte* x, byte* next, long nextBytes, float* results)
    {
        // The sums of even columns of 16 rows, those of odd ones, and so on.
        new Span<float>(results, 32 * count).Clear();
        long rowBytes = (long)blocks * TileBytes, toNext = next - tiles;
        float* tokens = (float*)x;
        for (; blocks > 0; blocks--, tiles += TileBytes)
        {
            long step = nextBytes - rowBytes, first = ReadAhead.Ahead((long)blocks * TileBytes, rowBytes, toNext, ref step);
            for (int run = 0; run < TColumns.Count; run += 32, tokens += 32)
            {
                byte* tile = tiles;
                long ahead = first;
                for (int row = 0; row < count; row++, tile += rowBytes, ahead += step)
                {
                    byte* codes = tile + 64 + (16 * run);
                    ReadAhead.Of(codes + ahead, 512 + (64 * 32 / TColumns.Count));
                    for (int lane = 0; lane < 16; lane += TLanes.Count / 4)
                        One(codes + (4 * lane), TLanes.Load((float*)tile + lane), tokens, results + (32 * row) + lane);
                }
            }
        }

        for (int row = 0; row < count; row++)
            for (int lane = 0; lane < 16; lane += TLanes.Count / 4)
                TLanes.Store(TLanes.Add(TLanes.Load(results + (32 * row) + lane), TLanes.Load(results + (32 * row) + 16 + lane)), results + (16 * row) + lane);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    protected override bool PackTiles(byte* codes, float* scales, float* zeros, int rows, int columns, int run, byte* tiles)
    {
        bool fits = true;
        for (int column = 0; column < columns; column += TColumns.Count, tiles += TileBytes)
        {
            new Span<byte>(tiles, 64).Clear();
            for (int row = 0; row < rows; row++)
            {
                float scale = scales[(row * (columns / run)) + (column / run)];
                ((float*)tiles)[row] = scale * ScaleFactor;
                fits &= MathF.Abs(scale) < Limit / LargestCode;
            }

            for (int part = 0; part < TColumns.Count; part += 32)
            {
                byte* to = tiles + 64 + (16 * part);
                PackedTiles.Interleave(codes + column + part, columns, to);
                for (int i = 0; i < 512; i++)
                    fits &= (to[i] & 127) != 127;
            }
        }

        return fits;
    }

    // 32 columns of as many rows as a vector has lanes.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void One(byte* codes, TVector scale, float* x, float* sums)
    {
        TVector a = TLanes.Load(sums), b = TLanes.Load(sums + 16);
        for (int group = 0; group < 8; group++, codes += 64, x += 4)
        {
            TBytes four = TLanes.Load(codes);
            a = TLanes.MultiplyAdd(TLanes.Multiply(First(four), scale), TLanes.Broadcast(x[0]), a);
            b = TLanes.MultiplyAdd(TLanes.Multiply(Second(four), scale), TLanes.Broadcast(x[1]), b);
            a = TLanes.MultiplyAdd(TLanes.Multiply(Third(four), scale), TLanes.Broadcast(x[2]), a);
            b = TLanes.MultiplyAdd(TLanes.Multiply(Fourth(four), scale), TLanes.Broadcast(x[3]), b);
        }

        TLanes.Store(a, sums);
        TLanes.Store(b, sums + 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector First(TBytes codes) => Fourth(TLanes.Left32(codes, 24));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Second(TBytes codes) => Fourth(TLanes.Left32(codes, 16));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Third(TBytes codes) => Fourth(TLanes.Left32(codes, 8));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Fourth(TBytes codes) => TLanes.AsFloat(TLanes.And32(TLanes.Right32(codes, 4), SignAndValue));
}
