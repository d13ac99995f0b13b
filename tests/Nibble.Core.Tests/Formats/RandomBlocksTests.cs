using Nibble.Core.Formats;

namespace Nibble.Core.Tests.Formats;

/// <summary>Random blocks of every format.</summary>
public sealed class RandomBlocksTests
{
    private const int Values = 1 << 18;

    /// <summary>Every format.</summary>
    public static TheoryData<string> Formats => [.. BlockFormats.All.Select(format => format.Name)];

    [Theory]
    [MemberData(nameof(Formats))]
    public void Values_are_finite_and_spread_as_asked(string name)
    {
        foreach (double deviation in (double[])[1 / Math.Sqrt(64), 1 / Math.Sqrt(2048), 1 / Math.Sqrt(16384)])
        {
            float[] values = Decode(BlockFormats.Find(name)!, deviation, 1);
            Assert.All(values, value => Assert.True(float.IsFinite(value)));
            double mean = values.Average(value => (double)value);
            double spread = Math.Sqrt(values.Average(value => (value - mean) * (value - mean)));
            Assert.InRange(spread / deviation, 0.98, 1.02);
            Assert.InRange(mean / deviation, -0.02, 0.02);
        }
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void A_seed_gives_its_bytes_and_another_others(string name)
    {
        BlockFormat format = BlockFormats.Find(name)!;
        byte[] first = new byte[format.RowBytes(1024)], again = new byte[first.Length], other = new byte[first.Length];
        again.AsSpan().Fill(0xAA);
        RandomBlocks.Fill(format, first, 0.02, 7);
        RandomBlocks.Fill(format, again, 0.02, 7);
        RandomBlocks.Fill(format, other, 0.02, 8);
        Assert.Equal(first, again);
        int same = first.Zip(other, (a, b) => a == b ? 1 : 0).Sum();
        Assert.InRange(same, 0, first.Length / 3);
    }

    [Fact]
    public void Codes_that_no_encoder_writes_are_left_out()
    {
        byte[] q8 = new byte[BlockFormats.Q8_0.RowBytes(Values)];
        RandomBlocks.Fill(BlockFormats.Q8_0, q8, 0.02, 1);
        for (int i = 0; i < q8.Length; i++)
            Assert.True(i % 34 < 2 || q8[i] != 0x80, $"byte {i} is -128");
        float[] ternary = Decode(BlockFormats.TQ2_0, 0.02, 1);
        foreach (float[] block in ternary.Chunk(256))
            Assert.Equal(3, block.Distinct().Count());
    }

    [Fact]
    public void Half_a_block_and_a_spread_that_is_none_are_refused()
    {
        Assert.Contains("needs a multiple of 144", Assert.Throws<ArgumentException>(() => RandomBlocks.Fill(BlockFormats.Q4_K, new byte[145], 1, 1)).Message, StringComparison.Ordinal);
        foreach (double deviation in (double[])[0, -1, double.NaN, double.PositiveInfinity])
            Assert.Contains("deviation is", Assert.Throws<ArgumentException>(() => RandomBlocks.Fill(BlockFormats.Q4_K, new byte[144], deviation, 1)).Message, StringComparison.Ordinal);
    }

    private static float[] Decode(BlockFormat format, double deviation, ulong seed)
    {
        byte[] blocks = new byte[format.RowBytes(Values)];
        RandomBlocks.Fill(format, blocks, deviation, seed);
        float[] values = new float[Values];
        format.Decode(blocks, values);
        return values;
    }
}
