using System.Runtime.InteropServices;
using Nibble.Core.Formats;

namespace Nibble.Core.Tests.Formats;

public class Q8_0EncoderTests
{
    private const int Seed = 5150;

    [Fact]
    public void The_error_stays_within_half_a_step_and_the_rounding_of_the_scale()
    {
        Random random = new(Seed);
        float[] x = new float[32 * 300], y = new float[x.Length];
        for (int i = 0; i < x.Length; i++)
            x[i] = (random.NextSingle() * 2 - 1) * MathF.Pow(10, i / 32 % 7 - 3);
        BlockFormats.Q8_0.Decode(Encode(x), y);
        for (int b = 0; b < x.Length; b += 32)
        {
            double largest = x.AsSpan(b, 32).ToArray().Max(v => Math.Abs((double)v)), step = largest / 127;
            // The scale is rounded to half: 2^-11 of it, or half a step of 2^-24 where it is subnormal, times at most 127.
            double bound = step / 2 + 127 * Math.Max(step * Math.ScaleB(1, -11), Math.ScaleB(1, -25)) + largest * Math.ScaleB(1, -20);
            for (int i = b; i < b + 32; i++)
                Assert.True(Math.Abs((double)x[i] - y[i]) <= bound, $"seed {Seed}, value {i}: {x[i]} became {y[i]}, bound {bound}");
        }
    }

    [Fact]
    public void Encoding_a_decoded_row_again_gives_the_same_quants()
    {
        Random random = new(Seed);
        float[] x = new float[32 * 100], y = new float[x.Length];
        for (int i = 0; i < x.Length; i++) x[i] = random.NextSingle() * 8 - 4;
        byte[] once = Encode(x);
        BlockFormats.Q8_0.Decode(once, y);
        byte[] twice = Encode(y);
        for (int b = 0; b < once.Length; b += 34)
            Assert.Equal(Convert.ToHexString(once.AsSpan(b + 2, 32)), Convert.ToHexString(twice.AsSpan(b + 2, 32)));
    }

    [Fact]
    public void Halves_are_rounded_away_from_zero()
    {
        float[] x = new float[32];
        (float Value, sbyte Quant)[] cases = [(127, 127), (0.5f, 1), (-0.5f, -1), (1.5f, 2), (2.5f, 3), (-2.5f, -3), (0.49999997f, 0), (-0.49999997f, 0), (126.5f, 127), (-127, -127)];
        for (int i = 0; i < cases.Length; i++) x[i] = cases[i].Value;
        byte[] block = Encode(x);
        Assert.Equal(0x3C00, BitConverter.ToUInt16(block));
        Assert.Equal(cases.Select(c => c.Quant), MemoryMarshal.Cast<byte, sbyte>(block.AsSpan(2, cases.Length)).ToArray());
    }

    [Theory]
    [InlineData(0f)]
    [InlineData(-1e-45f)]
    [InlineData(1e-45f)]
    [InlineData(3e-37f)]
    public void A_block_of_zeros_or_of_values_below_the_smallest_scale_is_all_zero_bytes(float value)
    {
        float[] x = new float[32];
        x[7] = value;
        x[8] = -0f;
        Assert.All(Encode(x), b => Assert.Equal(0, b));
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    [InlineData(float.NegativeInfinity)]
    public void A_value_that_is_not_finite_is_seen_after_decoding(float value)
    {
        for (int at = 0; at < 32; at++)
        {
            float[] x = new float[32], y = new float[32];
            Array.Fill(x, 1f);
            x[at] = value;
            BlockFormats.Q8_0.Decode(Encode(x), y);
            Assert.All(y, v => Assert.True(float.IsNaN(v)));
        }
    }

    [Fact]
    public void Encoding_stays_inside_guard_pages()
    {
        foreach (GuardSide side in (GuardSide[])[GuardSide.Start, GuardSide.End])
        {
            using GuardedMemory<float> x = new(96, side);
            using GuardedMemory<byte> blocks = new(3 * 34, side);
            x.Span.Fill(2);
            BlockFormats.Q8_0.Encode(x.Span, blocks.Span);
            Assert.Equal(Encode(x.Span.ToArray()), blocks.Span.ToArray());
        }
    }

    private static byte[] Encode(float[] x)
    {
        byte[] blocks = new byte[x.Length / 32 * 34];
        BlockFormats.Q8_0.Encode(x, blocks);
        return blocks;
    }
}
