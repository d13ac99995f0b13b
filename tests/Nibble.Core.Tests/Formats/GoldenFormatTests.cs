using System.Runtime.InteropServices;
using Nibble.Core.Formats;

namespace Nibble.Core.Tests.Formats;

/// <summary>Blocks written by ggml, and what ggml decodes them to (tests/golden/formats).</summary>
public class GoldenFormatTests
{
    /// <summary>Format name and fixture name of every pair of files.</summary>
    public static TheoryData<string, string> Fixtures
    {
        get
        {
            TheoryData<string, string> data = [];
            foreach (BlockFormat format in BlockFormats.All.Where(f => f != BlockFormats.F32))
            {
                string fixture = format.Name.ToLowerInvariant().Replace("_k", "_K", StringComparison.Ordinal);
                data.Add(format.Name, fixture);
                if (format.BlockValues > 1) data.Add(format.Name, fixture + ".imatrix");
            }

            return data;
        }
    }

    [Fact]
    public void Every_golden_file_of_blocks_belongs_to_a_test()
    {
        string[] files = [.. Directory.GetFiles(Testing.Fixtures.Golden("formats"), "*.bin").Select(f => Path.GetFileNameWithoutExtension(f)).Order(StringComparer.Ordinal)];
        string[] tested = [.. Fixtures.Select(row => row.Data.Item2).Order(StringComparer.Ordinal)];
        Assert.Equal(34, files.Length);
        Assert.Equal(files, tested);
    }

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Decoding_equals_ggml_bit_for_bit(string name, string fixture)
    {
        BlockFormat format = BlockFormats.Find(name)!;
        byte[] blocks = Bytes(fixture + ".bin");
        float[] expected = Floats(fixture + ".f32");
        Assert.Equal(8 * 512, expected.Length);
        float[] actual = new float[expected.Length];
        format.Decode(blocks, actual);
        AssertSameBits(expected, actual);
    }

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Encoding_equals_ggml_byte_for_byte(string name, string fixture)
    {
        BlockFormat format = BlockFormats.Find(name)!;
        bool isWeighted = fixture.EndsWith(".imatrix", StringComparison.Ordinal);
        float[] input = Floats("input.f32"), importance = isWeighted ? Floats("importance.f32") : [];
        ReadOnlySpan<byte> expected = Bytes(fixture + ".bin");
        int rowBytes = (int)format.RowBytes(512);
        byte[] actual = new byte[rowBytes];
        for (int row = 0; row < 8; row++)
        {
            format.EncodeRow(input.AsSpan(row * 512, 512), importance, actual);
            ReadOnlySpan<byte> golden = expected.Slice(row * rowBytes, rowBytes);
            for (int i = 0; i < rowBytes; i++)
                if (golden[i] != actual[i])
                    Assert.Fail($"row {row}, block {i / format.BlockBytes}, byte {i % format.BlockBytes}: {actual[i]} instead of {golden[i]}");
            if (isWeighted) continue;
            format.Encode(input.AsSpan(row * 512, 512), actual);
            Assert.True(golden.SequenceEqual(actual));
        }
    }

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void A_row_between_guard_pages_at_either_end_and_at_odd_addresses_decodes_the_same(string name, string fixture)
    {
        BlockFormat format = BlockFormats.Find(name)!;
        byte[] all = Bytes(fixture + ".bin");
        int most = Math.Min(3 * Math.Max(1, 67 / format.BlockValues), all.Length / format.BlockBytes);
        for (int count = 1; count <= most; count++)
        {
            ReadOnlySpan<byte> blocks = all.AsSpan(^(count * format.BlockBytes)..);
            ReadOnlySpan<float> expected = Floats(fixture + ".f32").AsSpan(^(count * format.BlockValues)..);
            foreach (GuardSide side in (GuardSide[])[GuardSide.Start, GuardSide.End])
            {
                using GuardedMemory<byte> input = new(blocks, side);
                using GuardedMemory<float> output = new(count * format.BlockValues, side);
                format.Decode(input.Span, output.Span);
                AssertSameBits(expected, output.Span);
                Assert.False(float.IsNaN(format.Dot(input.Span, output.Span)));
            }

            byte[] shifted = new byte[blocks.Length + 8];
            for (int offset = 1; offset < 8; offset += 2)
            {
                Span<byte> odd = shifted.AsSpan(offset, blocks.Length);
                blocks.CopyTo(odd);
                float[] values = new float[count * format.BlockValues];
                format.Decode(odd, values);
                AssertSameBits(expected, values);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Dot_equals_the_sum_in_double_within_the_bound_of_its_roundings(string name, string fixture)
    {
        BlockFormat format = BlockFormats.Find(name)!;
        byte[] blocks = Bytes(fixture + ".bin");
        float[] weights = Floats(fixture + ".f32");
        const int Seed = 20240611;
        Random random = new(Seed);
        for (int start = 0; start < weights.Length; start += 512)
        {
            float[] x = new float[512];
            foreach (ref float value in x.AsSpan()) value = random.NextSingle() * 2 - 1;
            double sum = 0, magnitudes = 0;
            for (int i = 0; i < x.Length; i++)
            {
                double product = (double)weights[start + i] * x[i];
                sum += product;
                magnitudes += Math.Abs(product);
            }

            // n products and n additions, each rounded once to float32: relative error below (n + 1) * 2^-24 of the magnitudes, with a
            // subnormal step per product beside it.
            double bound = 513 * Math.ScaleB(1, -24) * 1.001 * magnitudes + 512 * float.Epsilon;
            long first = format.RowBytes(start), bytes = format.RowBytes(512);
            double dot = format.Dot(blocks.AsSpan((int)first, (int)bytes), x);
            Assert.True(Math.Abs(dot - sum) <= bound, $"seed {Seed}, row {start / 512}: {dot} against {sum}, bound {bound}");
        }
    }

    private static void AssertSameBits(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
            if (BitConverter.SingleToUInt32Bits(expected[i]) != BitConverter.SingleToUInt32Bits(actual[i]))
                Assert.Fail($"value {i}: {actual[i]:R} instead of {expected[i]:R}");
    }

    private static byte[] Bytes(string file) => File.ReadAllBytes(Testing.Fixtures.Golden("formats", file));

    private static float[] Floats(string file) => MemoryMarshal.Cast<byte, float>(Bytes(file)).ToArray();
}
