using System.Runtime.Intrinsics;
using Nibble.Cpu.Kernels;

namespace Nibble.Cpu.Tests;

/// <summary>Keys, values and queries rounded to pairs of 16-bit integers, against the definition.</summary>
public unsafe class KvPairsTests
{
    private const int Tile = AttentionArguments.TilePositions;

    // Rows of many magnitudes: numbers of float16, zeros, and one number far above the others.
    private static float[] Row(Random random, int position, int size)
    {
        float[] row = Values.Random(random, size);
        float scale = position % 7 == 0 ? 0 : MathF.ScaleB(1, (position % 29) - 22);
        for (int i = 0; i < size; i++)
            row[i] = (float)(Half)(row[i] * scale);
        if (position % 5 == 1) row[position % size] = (float)(Half)(row[position % size] * 50);
        if (position % 11 == 2) Array.Clear(row);
        return row;
    }

    // A tile of them, three with what is no number.
    private static float[][] Rows(int size)
    {
        Random random = new(size);
        float[][] rows = [.. Enumerable.Range(0, Tile).Select(p => Row(random, p, size))];
        (rows[9][0], rows[10][size - 1], rows[43][1]) = (float.NaN, float.PositiveInfinity, float.NegativeInfinity);
        return rows;
    }

    [Theory]
    [InlineData(2)]
    [InlineData(8)]
    [InlineData(64)]
    [InlineData(192)]
    public void Keys_are_rounded_to_14_bits_of_each_position_s_largest(int size)
    {
        float[][] rows = Rows(size);
        Check<Lanes128, Vector128<float>>();
        if (CpuPaths.All.Any(p => p.IsSupported && p.Name == "avx2")) Check<Lanes256, Vector256<float>>();
        if (CpuPaths.All.Any(p => p.IsSupported && p.Name == "avx512")) Check<Lanes512, Vector512<float>>();

        void Check<TLanes, TVector>()
            where TLanes : struct, ILanes<TVector>
            where TVector : struct
        {
            foreach (int count in new[] { 64, 48, 33, 1 })
            {
                using GuardedMemory<float> keys = new(size * Tile, GuardSide.End), scales = new(Tile, GuardSide.End);
                for (int p = 0; p < Tile; p++)
                    for (int k = 0; k < size; k++)
                        keys.Span[(k * Tile) + p] = rows[p][k];
                KvPairs<TLanes, TVector>.Keys(keys.Pointer, size / 2, count, scales.Pointer);
                for (int p = 0; p < count; p++)
                {
                    if (!rows[p].All(float.IsFinite))
                    {
                        Assert.True(float.IsNaN(scales.Span[p]), $"position {p}");
                        continue;
                    }

                    float unit = Unit(rows[p], 13);
                    Assert.Equal(unit, scales.Span[p]);
                    for (int k = 0; k < size; k++)
                        Assert.Equal(Rounded(rows[p][k], unit), Number(keys.Span[(k / 2 * Tile) + p], k % 2));
                }
            }
        }
    }

    [Theory]
    [InlineData(32)]
    [InlineData(96)]
    public void Values_are_rounded_to_12_bits_of_each_position_s_largest(int size)
    {
        float[][] rows = Rows(size);
        Check<Lanes128, Vector128<float>>();
        if (CpuPaths.All.Any(p => p.IsSupported && p.Name == "avx2")) Check<Lanes256, Vector256<float>>();
        if (CpuPaths.All.Any(p => p.IsSupported && p.Name == "avx512")) Check<Lanes512, Vector512<float>>();

        void Check<TLanes, TVector>()
            where TLanes : struct, ILanes<TVector>
            where TVector : struct
        {
            foreach (int count in new[] { 64, 48, 32, 7 })
            {
                using GuardedMemory<float> values = new(size * Tile, GuardSide.End), powers = new(Tile, GuardSide.End), inverses = new(Tile, GuardSide.End);
                using GuardedMemory<float> keyScales = new(Tile, GuardSide.End), scratch = new(16 * Tile, GuardSide.End);
                keyScales.Span.Fill(3);
                for (int p = 0; p < count; p++)
                    rows[p].CopyTo(values.Span[(p * size)..]);
                KvPairs<TLanes, TVector>.Values(values.Pointer, size, count, powers.Pointer, inverses.Pointer, keyScales.Pointer, scratch.Pointer);
                for (int p = 0; p < Tile; p++)
                {
                    Assert.True(float.IsFinite(powers.Span[p]) && float.IsFinite(inverses.Span[p]), $"position {p}");
                    float[] row = p < count ? rows[p] : new float[size];
                    if (!row.All(float.IsFinite))
                    {
                        Assert.True(float.IsNaN(keyScales.Span[p]), $"position {p}");
                        continue;
                    }

                    float unit = Unit(row, 11);
                    Assert.Equal(3, keyScales.Span[p]);
                    Assert.Equal(unit * 2048, MathF.ScaleB(1, (int)powers.Span[p]));
                    Assert.Equal(1 / (unit * 2048), inverses.Span[p]);
                    for (int i = 0; i < size && p % 32 < count; i++)
                        Assert.Equal(Rounded(row[i], unit), Number(values.Span[(p % 32 * size) + i], p / 32));
                }
            }
        }
    }

    [Fact]
    public void Queries_are_rounded_relative_to_their_largest_number()
    {
        Random random = new(5);
        foreach (int size in new[] { 8, 16, 64, 200 })
        {
            foreach (float scale in new[] { 1f, 1e-20f, 1e20f, 0f, 1e-33f })
            {
                float[] numbers = [.. Values.Random(random, size).Select(x => x * scale)];
                using GuardedMemory<float> query = new(numbers, GuardSide.End);
                float unit = KvPairs<Lanes128, Vector128<float>>.Query(query.Pointer, size);
                float largest = numbers.Max(MathF.Abs);
                if (largest < 1e-30f)
                {
                    Assert.Equal(0, unit);
                    continue;
                }

                Assert.Equal(largest / 4095, unit);
                for (int k = 0; k < size; k++)
                    Assert.InRange(Number(query.Span[k / 2], k % 2) - (double)numbers[k] / unit, -0.501, 0.501);
            }

            foreach (float bad in new[] { float.NaN, float.PositiveInfinity, float.NegativeInfinity })
            {
                float[] numbers = Values.Random(random, size);
                numbers[size - 1] = bad;
                using GuardedMemory<float> query = new(numbers, GuardSide.End);
                Assert.True(float.IsNaN(KvPairs<Lanes128, Vector128<float>>.Query(query.Pointer, size)));
            }
        }
    }

    // The power of two that is no larger than the largest number, divided by that of some bits; zeros have 2^-24.
    private static float Unit(float[] row, int bits) => MathF.ScaleB(1, (int)Math.Floor(Math.Log2(Math.Max(row.Max(MathF.Abs), MathF.ScaleB(1, -24)))) - bits);

    private static int Rounded(float value, float unit) => (int)Math.Round((double)value / unit, MidpointRounding.ToEven);

    private static short Number(float pair, int which) => (short)(BitConverter.SingleToInt32Bits(pair) >> (16 * which));
}
