using System.Runtime.Intrinsics;
using Nibble.Cpu.Kernels;

namespace Nibble.Cpu.Tests;

/// <summary>Products of pairs of 16-bit integers.</summary>
public unsafe class PairProductTests
{
    [Fact]
    public void Products_are_exact_whatever_the_rows_and_the_width_of_vectors()
    {
        foreach (int rows in new[] { 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 31, 32 })
            foreach (int inner in new[] { 1, 2, 31, 32, 64 })
                foreach (int columns in new[] { 32, 64, 96 })
                    Each(rows, inner, columns, 4096);
    }

    [Theory]
    [InlineData(16, 4095, 16384)] // KvPairs.KeyBlock, LargestQuery and keys
    [InlineData(32, 8191, 4096)] // a tile's positions, LargestWeight and values
    public void The_largest_sums_do_not_overflow(int inner, int a, int b)
    {
        foreach (int sign in new[] { 1, -1 })
        {
            PairCheck check = new(9, inner, 32, (_, _) => a, (_, _) => sign * b);
            Assert.Equal((float)(2L * inner * a * b * sign), check.Expected(0, 0));
            check.Run();
        }
    }

    private static void Each(int rows, int inner, int columns, int most)
    {
        Random random = new((rows * 1000) + inner + columns);
        new PairCheck(rows, inner, columns, (_, _) => random.Next(-most, most + 1), (_, _) => random.Next(-most, most + 1)).Run();
    }

    private sealed class PairCheck(int rows, int inner, int columns, Func<int, int, int> left, Func<int, int, int> right)
    {
        private const int Gap = 5;

        private readonly short[] _a = Fill(rows, 2 * inner, left), _b = Fill(2 * inner, columns, right);

        public float Expected(int row, int column)
        {
            long sum = 0;
            for (int k = 0; k < 2 * inner; k++)
                sum += _a[(row * 2 * inner) + k] * _b[(k * columns) + column];
            return sum;
        }

        public void Run()
        {
            Check<Lanes128, Vector128<float>>();
            if (CpuPaths.All.Any(p => p.IsSupported && p.Name == "avx2")) Check<Lanes256, Vector256<float>>();
            if (CpuPaths.All.Any(p => p.IsSupported && p.Name == "avx512")) Check<Lanes512, Vector512<float>>();
        }

        private void Check<TLanes, TVector>()
            where TLanes : struct, ILanes<TVector>
            where TVector : struct
        {
            int aStride = inner + Gap, bStride = columns + 32, cStride = columns + Gap;
            using GuardedMemory<int> a = new(((rows - 1) * aStride) + inner, GuardSide.End);
            using GuardedMemory<float> b = new(((inner - 1) * bStride) + columns, GuardSide.End), c = new(((rows - 1) * cStride) + columns, GuardSide.End);
            using GuardedMemory<float> rowScales = new(rows, GuardSide.End), columnScales = new(columns, GuardSide.End);
            for (int i = 0; i < rows; i++)
            {
                for (int k = 0; k < inner; k++)
                    a.Span[(i * aStride) + k] = Pair(_a[(i * 2 * inner) + (2 * k)], _a[(i * 2 * inner) + (2 * k) + 1]);
                rowScales.Span[i] = MathF.ScaleB(1, i % 5);
            }

            for (int j = 0; j < columns; j++)
            {
                for (int k = 0; k < inner; k++)
                    b.Span[(k * bStride) + j] = BitConverter.Int32BitsToSingle(Pair(_b[(2 * k * columns) + j], _b[(((2 * k) + 1) * columns) + j]));
                columnScales.Span[j] = MathF.ScaleB(1, -(j % 3));
            }

            foreach ((bool fresh, bool scaled) in new[] { (true, true), (false, false), (false, true) })
            {
                c.Span.Fill(fresh ? float.NaN : 1);
                PairProduct<TLanes, TVector>.Add(a.Pointer, aStride, b.Pointer, bStride, c.Pointer, cStride, rows, inner, columns, rowScales.Pointer, scaled ? columnScales.Pointer : null, fresh);
                for (int i = 0; i < rows; i++)
                {
                    for (int j = 0; j < columns; j++)
                    {
                        // Scales are powers of two, so that only the sum with what was there rounds.
                        float expected = Expected(i, j) * rowScales.Span[i] * (scaled ? columnScales.Span[j] : 1);
                        Assert.Equal(fresh ? expected : (float)((double)expected + 1), c.Span[(i * cStride) + j]);
                    }

                    for (int j = columns; j < cStride && i < rows - 1; j++)
                        Assert.Equal(fresh ? float.NaN : 1, c.Span[(i * cStride) + j]);
                }
            }
        }

        private static int Pair(short low, short high) => (ushort)low | (high << 16);

        private static short[] Fill(int rows, int columns, Func<int, int, int> value)
        {
            short[] values = new short[rows * columns];
            for (int i = 0; i < values.Length; i++)
                values[i] = (short)value(i / columns, i % columns);
            return values;
        }
    }
}
