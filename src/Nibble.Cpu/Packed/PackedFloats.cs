using System.Runtime.CompilerServices;
using Nibble.Core.Formats;
using Nibble.Cpu.Codes;

namespace Nibble.Cpu.Packed;

/// <summary>A float format as products read it: for each column the values of 16 rows.</summary>
internal unsafe interface IPackedFloats
{
    /// <summary>The format.</summary>
    static abstract BlockFormat Format { get; }

    /// <summary>What products are multiplied by at last, for values are kept divided by it.</summary>
    static abstract float Factor { get; }

    /// <summary>Packs one value.</summary>
    /// <param name="value">The value.</param>
    /// <param name="packed">Its place, overwritten.</param>
    /// <returns>Whether it has a place there.</returns>
    static abstract bool Pack(ushort value, ushort* packed);

    /// <summary>float32 of packed values, each lane one.</summary>
    static abstract TVector Load<TLanes, TBytes, TVector>(byte* source)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct;
}

/// <summary>F16: halves times 2^10, see <see cref="Heads"/>.</summary>
internal readonly unsafe struct PackedF16 : IPackedFloats
{
    public static BlockFormat Format => BlockFormats.F16;

    public static float Factor => Heads.HalfFactor;

    public static bool Pack(ushort value, ushort* packed) => Heads.PackHalf(value, packed);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Load<TLanes, TBytes, TVector>(byte* source)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct => TLanes.Halves(source);
}

/// <summary>BF16: as it is.</summary>
internal readonly unsafe struct PackedBF16 : IPackedFloats
{
    public static BlockFormat Format => BlockFormats.BF16;

    public static float Factor => 1;

    public static bool Pack(ushort value, ushort* packed)
    {
        *packed = value;
        return true;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Load<TLanes, TBytes, TVector>(byte* source)
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct => TLanes.BrainHalves(source);
}

/// <summary>The kernels of a float format: products in float32 with activations as they are.</summary>
/// <remarks>A (row, token) pair has two sums, of the even and of the odd columns, from first to last, whatever the other tokens.</remarks>
internal sealed unsafe class PackedFloats<TFormat, TLanes, TBytes, TVector> : PackedKernel
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

    public override int TileBytes => 32 * 16 * 2;

    public override int PanelRunBytes => 32 * 16 * 4;

    public override float Factor => TFormat.Factor;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override bool Pack(byte** rows, int tileCount, byte* tiles)
    {
        bool fits = true;
        ushort* to = (ushort*)tiles;
        for (int tile = 0; tile < tileCount; tile++, to += 512)
        {
            for (int row = 0; row < 16; row++)
            {
                ushort* from = (ushort*)rows[row] + (32 * tile);
                for (int c = 0; c < 32; c++)
                {
                    if (rows[row] == null) to[(16 * c) + row] = 0;
                    else fits &= TFormat.Pack(Unsafe.ReadUnaligned<ushort>(from + c), to + (16 * c) + row);
                }
            }
        }

        return fits;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void Unpack(byte* tiles, int tileCount, byte* panel)
    {
        int lanes = TLanes.Count / 4;
        for (long values = tileCount * 512L; values > 0; values -= lanes, tiles += 2 * lanes, panel += 4 * lanes)
            TLanes.Store(TFormat.Load<TLanes, TBytes, TVector>(tiles), (float*)panel);
    }

    public override void Multiply(byte* tiles, int tileCount, byte* x, float* results)
    {
        for (int row = 0; row < 16; row += TLanes.Count / 4)
            One(tiles + (2 * row), tileCount * 32, (float*)x, results + row);
    }

    public override void Add(byte* panel, byte* x, int width, int runs, float* results)
    {
        for (int row = 0; row < 16; row += TLanes.Count / 4)
        {
            for (int token = 0; token < width;)
            {
                bool isEight = TLanes.Count == 64 && width == 8;
                float* values = (float*)panel + row, tokens = (float*)x + token, sums = results + (16 * token) + row;
                if (isEight) Add8(values, tokens, width, runs * 32, sums);
                else Add4(values, tokens, width, runs * 32, sums);
                token += isEight ? 8 : 4;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void One(byte* values, int columns, float* x, float* results)
    {
        TVector a = TLanes.Broadcast(0), b = TLanes.Broadcast(0);
        for (; columns > 0; columns -= 2, values += 64, x += 2)
        {
            a = TLanes.MultiplyAdd(TFormat.Load<TLanes, TBytes, TVector>(values), TLanes.Broadcast(x[0]), a);
            b = TLanes.MultiplyAdd(TFormat.Load<TLanes, TBytes, TVector>(values + 32), TLanes.Broadcast(x[1]), b);
        }

        TLanes.Store(TLanes.Add(a, b), results);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Add8(float* panel, float* x, int width, int columns, float* results)
    {
        TVector a0 = TLanes.Broadcast(0), a1 = TLanes.Broadcast(0), a2 = TLanes.Broadcast(0), a3 = TLanes.Broadcast(0), a4 = TLanes.Broadcast(0), a5 = TLanes.Broadcast(0), a6 = TLanes.Broadcast(0), a7 = TLanes.Broadcast(0);
        TVector b0 = TLanes.Broadcast(0), b1 = TLanes.Broadcast(0), b2 = TLanes.Broadcast(0), b3 = TLanes.Broadcast(0), b4 = TLanes.Broadcast(0), b5 = TLanes.Broadcast(0), b6 = TLanes.Broadcast(0), b7 = TLanes.Broadcast(0);
        for (; columns > 0; columns -= 2, panel += 32, x += 2 * width)
        {
            TVector even = TLanes.Load(panel), odd = TLanes.Load(panel + 16);
            a0 = TLanes.MultiplyAdd(even, TLanes.Broadcast(x[0]), a0);
            b0 = TLanes.MultiplyAdd(odd, TLanes.Broadcast(x[width + 0]), b0);
            a1 = TLanes.MultiplyAdd(even, TLanes.Broadcast(x[1]), a1);
            b1 = TLanes.MultiplyAdd(odd, TLanes.Broadcast(x[width + 1]), b1);
            a2 = TLanes.MultiplyAdd(even, TLanes.Broadcast(x[2]), a2);
            b2 = TLanes.MultiplyAdd(odd, TLanes.Broadcast(x[width + 2]), b2);
            a3 = TLanes.MultiplyAdd(even, TLanes.Broadcast(x[3]), a3);
            b3 = TLanes.MultiplyAdd(odd, TLanes.Broadcast(x[width + 3]), b3);
            a4 = TLanes.MultiplyAdd(even, TLanes.Broadcast(x[4]), a4);
            b4 = TLanes.MultiplyAdd(odd, TLanes.Broadcast(x[width + 4]), b4);
            a5 = TLanes.MultiplyAdd(even, TLanes.Broadcast(x[5]), a5);
            b5 = TLanes.MultiplyAdd(odd, TLanes.Broadcast(x[width + 5]), b5);
            a6 = TLanes.MultiplyAdd(even, TLanes.Broadcast(x[6]), a6);
            b6 = TLanes.MultiplyAdd(odd, TLanes.Broadcast(x[width + 6]), b6);
            a7 = TLanes.MultiplyAdd(even, TLanes.Broadcast(x[7]), a7);
            b7 = TLanes.MultiplyAdd(odd, TLanes.Broadcast(x[width + 7]), b7);
        }

        TLanes.Store(TLanes.Add(a0, b0), results + (0 * 16));
        TLanes.Store(TLanes.Add(a1, b1), results + (1 * 16));
        TLanes.Store(TLanes.Add(a2, b2), results + (2 * 16));
        TLanes.Store(TLanes.Add(a3, b3), results + (3 * 16));
        TLanes.Store(TLanes.Add(a4, b4), results + (4 * 16));
        TLanes.Store(TLanes.Add(a5, b5), results + (5 * 16));
        TLanes.Store(TLanes.Add(a6, b6), results + (6 * 16));
        TLanes.Store(TLanes.Add(a7, b7), results + (7 * 16));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Add4(float* panel, float* x, int width, int columns, float* results)
    {
        TVector a0 = TLanes.Broadcast(0), a1 = TLanes.Broadcast(0), a2 = TLanes.Broadcast(0), a3 = TLanes.Broadcast(0);
        TVector b0 = TLanes.Broadcast(0), b1 = TLanes.Broadcast(0), b2 = TLanes.Broadcast(0), b3 = TLanes.Broadcast(0);
        for (; columns > 0; columns -= 2, panel += 32, x += 2 * width)
        {
            TVector even = TLanes.Load(panel), odd = TLanes.Load(panel + 16);
            a0 = TLanes.MultiplyAdd(even, TLanes.Broadcast(x[0]), a0);
            b0 = TLanes.MultiplyAdd(odd, TLanes.Broadcast(x[width + 0]), b0);
            a1 = TLanes.MultiplyAdd(even, TLanes.Broadcast(x[1]), a1);
            b1 = TLanes.MultiplyAdd(odd, TLanes.Broadcast(x[width + 1]), b1);
            a2 = TLanes.MultiplyAdd(even, TLanes.Broadcast(x[2]), a2);
            b2 = TLanes.MultiplyAdd(odd, TLanes.Broadcast(x[width + 2]), b2);
            a3 = TLanes.MultiplyAdd(even, TLanes.Broadcast(x[3]), a3);
            b3 = TLanes.MultiplyAdd(odd, TLanes.Broadcast(x[width + 3]), b3);
        }

        TLanes.Store(TLanes.Add(a0, b0), results + (0 * 16));
        TLanes.Store(TLanes.Add(a1, b1), results + (1 * 16));
        TLanes.Store(TLanes.Add(a2, b2), results + (2 * 16));
        TLanes.Store(TLanes.Add(a3, b3), results + (3 * 16));
    }
}
