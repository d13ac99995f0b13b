using System.Runtime.InteropServices;
using Nibble.Core.Formats;

namespace Nibble.Core.Tests.Formats;

public class FloatConversionTests
{
    [Fact]
    public void Every_half_widens_exactly_in_a_row_and_alone()
    {
        Half[] halves = new Half[65536 + 5];
        for (int code = 0; code < halves.Length; code++) halves[code] = BitConverter.UInt16BitsToHalf((ushort)code);
        float[] row = new float[halves.Length], single = new float[1];
        HalfConversion.ToSingle(halves, row);
        for (int code = 0; code < halves.Length; code++)
        {
            BlockFormats.F16.Decode(MemoryMarshal.AsBytes(halves.AsSpan(code, 1)), single);
            uint expected = (code & 0x7C00) == 0x7C00 && (code & 0x3FF) != 0
                ? (uint)(code & 0x8000) << 16 | 0x7FC0_0000 | (uint)(code & 0x3FF) << 13
                : BitConverter.SingleToUInt32Bits(ElementFormulas.Half(code & 0xFFFF));
            Assert.Equal(expected, BitConverter.SingleToUInt32Bits(row[code]));
            Assert.Equal(expected, BitConverter.SingleToUInt32Bits(single[0]));
        }
    }

    [Fact]
    public void Narrowing_to_half_rounds_to_nearest_even_around_every_half()
    {
        // Each half and the middle between it and the next, with the floats just beside both.
        List<float> values = [];
        List<ushort> expected = [];
        for (int code = 0; code < 0x7C00; code++)
        {
            float at = ElementFormulas.Half(code);
            float next = code == 0x7BFF ? 65536 : ElementFormulas.Half(code + 1);
            float middle = (at + next) / 2;
            Add(at, code);
            if (code > 0) Add(MathF.BitDecrement(at), code);
            Add(MathF.BitIncrement(at), code);
            Add(MathF.BitDecrement(middle), code);
            Add(middle, code % 2 == 0 ? code : code + 1);
            Add(MathF.BitIncrement(middle), code + 1);
        }

        Add(65536, 0x7C00);
        Add(float.MaxValue, 0x7C00);
        Add(float.PositiveInfinity, 0x7C00);
        Add(float.Epsilon, 0);
        foreach (uint nan in (uint[])[0x7FC0_0000, 0x7F80_0001, 0x7FFF_FFFF]) Add(BitConverter.UInt32BitsToSingle(nan), 0x7E00);

        AssertEncodes(BlockFormats.F16, values, expected);

        void Add(float value, int code)
        {
            values.Add(value);
            expected.Add((ushort)code);
            values.Add(BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(value) | 0x8000_0000));
            expected.Add((ushort)(code | 0x8000));
        }
    }

    [Fact]
    public void Narrowing_to_bfloat_rounds_to_nearest_even_around_every_bfloat()
    {
        List<float> values = [];
        List<ushort> expected = [];
        for (uint code = 0; code < 0x7F80; code++)
        {
            Add(code << 16, code);
            Add(code << 16 | 1, code);
            Add(code << 16 | 0x7FFF, code);
            Add(code << 16 | 0x8000, code + (code & 1)); // past the largest comes infinity
            Add(code << 16 | 0x8001, code + 1);
            Add(code << 16 | 0xFFFF, code + 1);
        }

        Add(0x7F80_0000, 0x7F80);
        Add(0x7F80_0001, 0x7FC0); // a NaN whose bits all lie in the lower half stays NaN
        Add(0x7FC1_2345, 0x7FC1);

        AssertEncodes(BlockFormats.BF16, values, expected);

        void Add(uint bits, uint code)
        {
            values.Add(BitConverter.UInt32BitsToSingle(bits));
            expected.Add((ushort)code);
            values.Add(BitConverter.UInt32BitsToSingle(bits | 0x8000_0000));
            expected.Add((ushort)(code | 0x8000));
        }
    }

    [Fact]
    public void Rows_of_every_short_length_stay_inside_guard_pages_in_both_directions()
    {
        foreach (BlockFormat format in (BlockFormat[])[BlockFormats.F32, BlockFormats.F16, BlockFormats.BF16])
        {
            for (int length = 0; length <= 70; length++)
            {
                foreach (GuardSide side in (GuardSide[])[GuardSide.Start, GuardSide.End])
                {
                    using GuardedMemory<float> values = new(length, side);
                    using GuardedMemory<byte> blocks = new(length * format.BlockBytes, side);
                    using GuardedMemory<float> again = new(length, side);
                    for (int i = 0; i < length; i++) values.Span[i] = (i - 31) * 0.25f;
                    format.Encode(values.Span, blocks.Span);
                    format.Decode(blocks.Span, again.Span);
                    Assert.Equal(values.Span, again.Span);
                }
            }
        }
    }

    [Theory]
    [InlineData("F16")]
    [InlineData("BF16")]
    [InlineData("F32")]
    public void Every_code_that_is_no_NaN_survives_decoding_and_encoding(string name)
    {
        BlockFormat format = BlockFormats.Find(name)!;
        byte[] codes = new byte[65536 * format.BlockBytes];
        for (int code = 0; code < 65536; code++) BitConverter.TryWriteBytes(codes.AsSpan((code + 1) * format.BlockBytes - 2), (ushort)code);
        float[] values = new float[65536];
        byte[] again = new byte[codes.Length];
        format.Decode(codes, values);
        format.Encode(values, again);
        for (int code = 0; code < 65536; code++)
        {
            if (float.IsNaN(values[code])) continue;
            Range range = (code * format.BlockBytes)..((code + 1) * format.BlockBytes);
            Assert.Equal(Convert.ToHexString(codes.AsSpan(range)), Convert.ToHexString(again.AsSpan(range)));
        }
    }

    [Fact]
    public void A_destination_that_is_too_short_is_refused_with_both_lengths()
    {
        string widen = Assert.Throws<ArgumentException>(() => HalfConversion.ToSingle(new Half[9], new float[8])).Message;
        string narrow = Assert.Throws<ArgumentException>(() => HalfConversion.ToHalf(new float[9], new Half[8])).Message;
        foreach (string message in (string[])[widen, narrow])
        {
            Assert.Contains("8", message, StringComparison.Ordinal);
            Assert.Contains("9", message, StringComparison.Ordinal);
        }
    }

    private static void AssertEncodes(BlockFormat format, List<float> values, List<ushort> expected)
    {
        float[] source = [.. values];
        byte[] row = new byte[source.Length * 2], single = new byte[2];
        format.Encode(source, row);
        for (int i = 0; i < source.Length; i++)
        {
            format.Encode(source.AsSpan(i, 1), single);
            ushort inRow = BitConverter.ToUInt16(row, i * 2), alone = BitConverter.ToUInt16(single);
            if (inRow != expected[i] || alone != expected[i])
                Assert.Fail($"{source[i]:R} ({BitConverter.SingleToUInt32Bits(source[i]):X8}): {inRow:X4} in a row and {alone:X4} alone instead of {expected[i]:X4}");
        }
    }
}
