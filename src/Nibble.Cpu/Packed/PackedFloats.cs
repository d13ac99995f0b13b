using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Nibble.Core.Formats;
using Nibble.Cpu.Codes;

namespace Nibble.Cpu.Packed;

/// <summary>A float format of 16 bits as products read it: for each pair of columns a 32-bit number of each of 16 rows, the even column in its low half.</summary>
internal unsafe interface IPackedFloats
{
    /// <summary>The format.</summary>
    static abstract BlockFormat Format { get; }

    /// <summary>What products are multiplied by at last, see <see cref="Heads.TokenFactor"/>.</summary>
    static abstract float Factor { get; }

    /// <summary>Packs 32 values.</summary>
    /// <param name="values">[32].</param>
    /// <param name="packed">[32], overwritten.</param>
    /// <returns>Whether all have a place there.</returns>
    static abstract bool Pack(ushort* values, ushort* packed);

    /// <summary>float32 of the even columns of packed pairs, each lane one.</summary>
    static abstract TVector Even<TLanes, TBytes, TVector>(TBytes pairs)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct;

    /// <summary>float32 of the odd columns of packed pairs, each lane one.</summary>
    static abstract TVector Odd<TLanes, TBytes, TVector>(TBytes pairs)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct;
}

/// <summary>F16: halves times 2^10 whose bits are moved to where float32 has its own, see <see cref="Heads"/>.</summary>
internal readonly unsafe struct PackedF16 : IPackedFloats
{
    public static BlockFormat Format => BlockFormats.F16;

    public static float Factor => Heads.HalfFactor;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Pack(ushort* values, ushort* packed)
    {
        bool fits = true;
        for (int i = 0; i < 32; i += 16)
        {
            Vector256<ushort> bits = Vector256.Load(values + i), magnitude = bits & Vector256.Create((ushort)0x7FFF);
            Vector256<ushort> isSmall = Vector256.LessThan(magnitude, Vector256.Create((ushort)(1 << 10))), isZero = Vector256.Equals(magnitude, Vector256<ushort>.Zero);
            if (Vector256.EqualsAll(isSmall, isZero))
            {
                fits &= Vector256.LessThanAll(magnitude, Vector256.Create((ushort)(21 << 10)));
                Vector256.AndNot(bits + Vector256.Create((ushort)(10 << 10)), isZero).Store(packed + i);
                continue;
            }

            for (int value = i; value < i + 16; value++)
                fits &= Heads.PackHalf(values[value], packed + value);
        }

        return fits;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Even<TLanes, TBytes, TVector>(TBytes pairs)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct => Odd<TLanes, TBytes, TVector>(TLanes.Left32(pairs, 16));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Odd<TLanes, TBytes, TVector>(TBytes pairs)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct => TLanes.AsFloat(TLanes.And32(TLanes.Right32(pairs, 3), Bits.HalfInFloat));
}

/// <summary>BF16: as it is. Magnitudes of 2^32 and more have no place, for activations are multiplied by 2^64.</summary>
internal readonly unsafe struct PackedBF16 : IPackedFloats
{
    public static BlockFormat Format => BlockFormats.BF16;

    public static float Factor => 1 / Heads.TokenFactor;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Pack(ushort* values, ushort* packed)
    {
        bool fits = true;
        for (int i = 0; i < 32; i += 16)
        {
            Vector256<ushort> bits = Vector256.Load(values + i);
            fits &= Vector256.LessThanAll(bits & Vector256.Create((ushort)0x7FFF), Vector256.Create((ushort)((127 + 32) << 7)));
            bits.Store(packed + i);
        }

        return fits;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Even<TLanes, TBytes, TVector>(TBytes pairs)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct => TLanes.AsFloat(TLanes.Left32(pairs, 16));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Odd<TLanes, TBytes, TVector>(TBytes pairs)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct => TLanes.AsFloat(TLanes.And32(pairs, 0xFFFF0000));
}

/// <summary>The kernels of a float format: products in float32 with activations as they are.</summary>
/// <remarks>A (row, token) pair has two sums, of the even and of the odd columns, from first to last, whatever the other tokens.</remarks>
internal sealed unsafe class PackedFloats<TFormat, TLanes, TBytes, TVector> : BlockKernel
    where TFormat : struct, IPackedFloats
    where TLanes : struct, IByteLanes<TBytes, TVector>
    where TBytes : struct
    where TVector : struct
{
    public override BlockFormat Format => TFormat.Format;

    public override CodeKind Kind => CodeKind.Floats;

    public override bool HasMinimum => false;

    public override string Instructions => $"{TLanes.Count * 8}-bit float32";

    public override int TileColumns => 32;

    public override int RoundMacs => ProductLoop<TLanes, TBytes, TVector>.RoundMacs(Kind);

    public override uint MultiplyRegisters(int rounds) => ProductLoop<TLanes, TBytes, TVector>.Run(Kind, rounds);

    public override int TileBytes => 32 * 16 * 2;

    public override int PanelRunBytes => 32 * 16 * 4;

    public override float Factor => TFormat.Factor;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override bool Pack(byte** rows, int tileCount, byte* tiles)
    {
        bool fits = true;
        uint* to = (uint*)tiles, packed = stackalloc uint[16];
        for (int tile = 0; tile < tileCount; tile++, to += 256)
        {
            for (int row = 0; row < 16; row++)
            {
                if (rows[row] == null) new Span<uint>(packed, 16).Clear();
                else fits &= TFormat.Pack((ushort*)rows[row] + (32 * tile), (ushort*)packed);
                for (int pair = 0; pair < 16; pair++)
                    to[(16 * pair) + row] = packed[pair];
            }
        }

        return fits;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void Unpack(byte* tiles, int tileCount, byte* panel)
    {
        for (int pair = 16 * tileCount; pair > 0; pair--, panel += 128)
            for (int part = 0; part < 64; part += TLanes.Count, tiles += TLanes.Count)
            {
                TBytes values = TLanes.Load(tiles);
                TLanes.Store(TFormat.Even<TLanes, TBytes, TVector>(values), (float*)(panel + part));
                TLanes.Store(TFormat.Odd<TLanes, TBytes, TVector>(values), (float*)(panel + 64 + part));
            }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void Multiply(byte* tiles, int count, int tileCount, byte* x, byte* next, long nextBytes, float* results)
    {
        // The sums of even columns of 16 rows, those of odd ones, and so on.
        new Span<float>(results, 32 * count).Clear();
        long rowBytes = (long)tileCount * TileBytes, toNext = next - tiles;
        float* tokens = (float*)x;
        for (; tileCount > 0; tileCount--, tiles += TileBytes, tokens += 32)
        {
            byte* tile = tiles;
            long step = nextBytes - rowBytes, ahead = ReadAhead.Ahead((long)tileCount * TileBytes, rowBytes, toNext, ref step);
            for (int row = 0; row < count; row++, tile += rowBytes, ahead += step)
                for (int lane = 0; lane < 16; lane += TLanes.Count / 4)
                    One(tile + (4 * lane), tokens, ahead, lane == 0, results + (32 * row) + lane);
        }

        for (int row = 0; row < count; row++)
            for (int lane = 0; lane < 16; lane += TLanes.Count / 4)
                TLanes.Store(TLanes.Add(TLanes.Load(results + (32 * row) + lane), TLanes.Load(results + (32 * row) + 16 + lane)), results + (16 * row) + lane);
    }

    public override int Sums => 2;

    public override void Add(byte* panel, byte* x, int width, int runs, float* results) => FloatPanels<TLanes, TBytes, TVector>.Add(panel, x, width, runs, results);

    public override void AddTwo(byte* panel, long next, byte* x, int width, int runs, float* results, long nextResults)
    {
        if (TLanes.Count == 64) FloatPanels<TLanes, TBytes, TVector>.AddTwo(panel, next, x, width, runs, results, nextResults);
        else base.AddTwo(panel, next, x, width, runs, results, nextResults);
    }

    // 32 columns of as many rows as a vector has lanes.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void One(byte* tile, float* x, long ahead, bool isFirst, float* sums)
    {
        TVector a = TLanes.Load(sums), b = TLanes.Load(sums + 16);
        for (int pair = 0; pair < 16; pair++, tile += 64, x += 2)
        {
            if (isFirst) ReadAhead.Of(tile + ahead, 64);
            TBytes values = TLanes.Load(tile);
            a = TLanes.MultiplyAdd(TFormat.Even<TLanes, TBytes, TVector>(values), TLanes.Broadcast(x[0]), a);
            b = TLanes.MultiplyAdd(TFormat.Odd<TLanes, TBytes, TVector>(values), TLanes.Broadcast(x[1]), b);
        }

        TLanes.Store(a, sums);
        TLanes.Store(b, sums + 16);
    }
}
