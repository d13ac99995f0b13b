using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Cpu.Kernels;

namespace Nibble.Cpu.Tests;

/// <summary>Keys and values in 4 bits, whose heads are rotated first.</summary>
public unsafe class RotatedCacheTests
{
    [Theory]
    [InlineData(4)]
    [InlineData(32)]
    [InlineData(64)]
    [InlineData(96)]
    [InlineData(128)]
    [InlineData(576)]
    public void Vectors_rotate_heads_to_the_bits_of_the_readable_loop_and_back(int size)
    {
        float[] values = Values.Random(new Random(size), 3 * size), expected = [.. values];
        WalshHadamard.Rotate(expected, size);
        using GuardedMemory<float> ours = new(values, GuardSide.End);
        HeadRotation.Rotate(ours.Pointer, 3 * size, size);
        Assert.Equal(expected, ours.Span.ToArray());
        Assert.NotEqual(values, expected);

        // A rotation keeps lengths, and this one is its own inverse.
        Assert.InRange(expected.Sum(v => (double)v * v) / values.Sum(v => (double)v * v), 1 - 1e-6, 1 + 1e-6);
        HeadRotation.Rotate(ours.Pointer, 3 * size, size);
        Assert.InRange(Nmse.Of(ours.Span, values), 0, 1e-12);
    }

    [Fact]
    public void Two_values_become_their_sum_and_difference_by_the_root_of_two()
    {
        float[] pair = [3, 1], three = [5, 7, 9];
        WalshHadamard.Rotate(pair, 2);
        Assert.Equal([4 / MathF.Sqrt(2), 2 / MathF.Sqrt(2)], pair, (a, b) => MathF.Abs(a - b) < 1e-6f);
        WalshHadamard.Rotate(three, 3); // Blocks of one.
        Assert.Equal([5, 7, 9], three);
        Assert.Throws<ArgumentException>(() => WalshHadamard.Rotate(new float[5], 2));
    }

    [Fact]
    public void Attention_over_4_bits_is_near_that_over_float32_and_nearer_than_without_the_rotation()
    {
        // A few channels of keys and values stand far out, as those of language models do.
        const int Positions = 700, Heads = 8, Size = 64;
        KvLayer layer = new(2, Size, Size);
        float[] keys = Outliers(1), values = Outliers(2), queries = Values.Random(new Random(3), Heads * Size);
        using CpuBackend backend = new(new CpuOptions { Threads = 2 });
        float[] expected = Run(BlockFormats.F32, keys, values), rotated = Run(BlockFormats.Q4_0, keys, values), plain = Run(BlockFormats.F32, Rounded(keys), Rounded(values));
        double with = Nmse.Of(rotated, expected), without = Nmse.Of(plain, expected);
        Assert.InRange(with, 1e-6, 0.02);
        Assert.True(with < without / 2, $"an NMSE of {with:E2} with the rotation and {without:E2} without");

        float[] Run(BlockFormat format, float[] k, float[] v)
        {
            using KvCache cache = backend.AllocateKv([layer], Positions, format, Positions);
            backend.StoreKv(Values.Tensor(backend, Positions, 2 * Size, 0, k), Values.Tensor(backend, Positions, 2 * Size, 0, v), cache, 0, 0);
            Tensor y = Values.Tensor(backend, 1, Heads * Size);
            backend.Attention(Values.Tensor(backend, 1, Heads * Size, 0, queries), cache, 0, Positions - 1, new AttentionOptions(Heads, 0.02f), y);
            return Values.Read(backend, y);
        }

        static float[] Outliers(int seed)
        {
            float[] heads = Values.Random(new Random(seed), Positions * 2 * Size);
            for (int i = 0; i < heads.Length; i++)
                if (i % Size is 5 or 40) heads[i] = (heads[i] * 2) + 12;
            return heads;
        }

        static float[] Rounded(float[] heads)
        {
            byte[] blocks = new byte[BlockFormats.Q4_0.RowBytes(heads.Length)];
            float[] decoded = new float[heads.Length];
            BlockFormats.Q4_0.Encode(heads, blocks);
            BlockFormats.Q4_0.Decode(blocks, decoded);
            return decoded;
        }
    }
}
