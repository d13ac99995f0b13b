using Nibble.Core.Formats;

namespace Nibble.Core.Tests.Formats;

/// <summary>Blocks of random bits with every special scale, against <see cref="ElementFormulas"/>.</summary>
public class HandMadeBlockTests
{
    private const int Seed = 77003;

    /// <summary>Zeros, subnormals, the smallest normal, ordinary values, the largest, infinities, quiet and signalling NaNs.</summary>
    private static readonly ushort[] s_specialHalves =
        [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x3555, 0xB800, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0xFE01, 0x7C01, 0xFDFF];

    public static TheoryData<string> Names => BlockFormatsTests.Names;

    public static TheoryData<string> NamesWithHalfScales => [.. ElementFormulas.All.Where(f => f.Value.HalfOffsets.Length > 0).Select(f => f.Key)];

    [Theory]
    [MemberData(nameof(Names))]
    public void Random_blocks_decode_to_the_formula_of_each_value(string name)
    {
        Random random = new(Seed);
        byte[] block = new byte[BlockFormats.Find(name)!.BlockBytes];
        for (int round = 0; round < 400; round++)
        {
            random.NextBytes(block);
            Check(name, block);
        }
    }

    [Theory]
    [MemberData(nameof(NamesWithHalfScales))]
    public void Special_half_scales_decode_to_the_formula_of_each_value(string name)
    {
        int[] offsets = ElementFormulas.All[name].HalfOffsets;
        Random random = new(Seed);
        byte[] block = new byte[BlockFormats.Find(name)!.BlockBytes];
        foreach (ushort first in s_specialHalves)
        {
            foreach (ushort second in offsets.Length == 2 ? s_specialHalves : [0])
            {
                foreach (int fill in (int[])[-1, 0x00, 0xFF])
                {
                    if (fill < 0) random.NextBytes(block);
                    else Array.Fill(block, (byte)fill);
                    BitConverter.TryWriteBytes(block.AsSpan(offsets[0]), first);
                    if (offsets.Length == 2) BitConverter.TryWriteBytes(block.AsSpan(offsets[1]), second);
                    Check(name, block);
                }
            }
        }
    }

    [Theory]
    [InlineData("MXFP4", 0, 1)]
    [InlineData("NVFP4", 0, 4)]
    public void Every_byte_scale_decodes_to_the_formula_of_each_value(string name, int offset, int scales)
    {
        Random random = new(Seed);
        byte[] block = new byte[BlockFormats.Find(name)!.BlockBytes];
        for (int code = 0; code < 256; code++)
        {
            random.NextBytes(block);
            for (int s = 0; s < scales; s++) block[offset + s] = (byte)(code + 63 * s);
            Check(name, block);
        }
    }

    [Theory]
    [InlineData(0, 0x00200000u)] // 2^-128, subnormal
    [InlineData(1, 0x00400000u)] // 2^-127, subnormal
    [InlineData(2, 0x00800000u)] // 2^-126, the smallest normal
    [InlineData(128, 0x3F800000u)] // 1
    [InlineData(255, 0x7F000000u)] // 2^127
    public void The_half_of_an_E8M0_scale_has_these_bits(int code, uint bits) =>
        Assert.Equal(bits, BitConverter.SingleToUInt32Bits(ByteScales.HalfE8M0((byte)code)));

    [Theory]
    [InlineData(0x00, 0f)]
    [InlineData(0x01, 1f / 1024)]
    [InlineData(0x07, 7f / 1024)]
    [InlineData(0x08, 1f / 128)]
    [InlineData(0x38, 0.5f)]
    [InlineData(0x7E, 224f)]
    [InlineData(0x7F, 0f)]
    [InlineData(0x80, 0f)]
    [InlineData(0xB8, 0.5f)]
    [InlineData(0xFF, 240f)]
    public void The_half_of_a_UE4M3_scale_has_this_value(int code, float value) =>
        Assert.Equal(value, ByteScales.HalfUE4M3((byte)code));

    [Fact]
    public void A_negative_zero_scale_keeps_its_sign_through_the_product()
    {
        byte[] block = new byte[18];
        BitConverter.TryWriteBytes(block, (ushort)0x8000);
        block[2] = 0x9F; // value 0: nibble 15, times 7; value 16: nibble 9, times 1
        float[] values = new float[32];
        BlockFormats.Q4_0.Decode(block, values);
        Assert.Equal(0x8000_0000u, BitConverter.SingleToUInt32Bits(values[0]));
        Assert.Equal(0x8000_0000u, BitConverter.SingleToUInt32Bits(values[16]));
        Assert.Equal(0u, BitConverter.SingleToUInt32Bits(values[1])); // nibble 0, times -8
    }

    [Fact]
    public void An_infinite_scale_gives_infinities_and_NaN_for_a_zero_quant()
    {
        byte[] block = new byte[34];
        BitConverter.TryWriteBytes(block, (ushort)0x7C00);
        block[2] = 1;
        block[3] = 0xFF;
        float[] values = new float[32];
        BlockFormats.Q8_0.Decode(block, values);
        Assert.Equal(float.PositiveInfinity, values[0]);
        Assert.Equal(float.NegativeInfinity, values[1]);
        Assert.All(values[2..], value => Assert.True(float.IsNaN(value)));
    }

    private static void Check(string name, byte[] block)
    {
        BlockFormat format = BlockFormats.Find(name)!;
        ElementFormulas.Formula formula = ElementFormulas.All[name].Value;
        // Sixteen copies and one more, so that a vectorised row and what is left after it are both seen.
        const int Copies = 17;
        byte[] row = new byte[Copies * block.Length];
        for (int copy = 0; copy < Copies; copy++) block.CopyTo(row, copy * block.Length);
        float[] values = new float[Copies * format.BlockValues];
        format.Decode(row, values);
        for (int i = 0; i < values.Length; i++)
        {
            float expected = formula(block, i % format.BlockValues);
            bool same = float.IsNaN(expected)
                ? float.IsNaN(values[i])
                : BitConverter.SingleToUInt32Bits(expected) == BitConverter.SingleToUInt32Bits(values[i]);
            if (!same) Assert.Fail($"{name}, seed {Seed}, block {Convert.ToHexString(block)}, value {i}: {values[i]:R} instead of {expected:R}");
        }
    }
}
