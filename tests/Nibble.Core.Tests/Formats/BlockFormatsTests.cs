using System.Runtime.CompilerServices;
using Nibble.Core.Formats;

namespace Nibble.Core.Tests.Formats;

public class BlockFormatsTests
{
    /// <summary>Name, ggml_type number, values and bytes of one block (ggml.h and ggml-common.h, llama.cpp v0.5.0).</summary>
    private static readonly (string Name, uint Id, int Values, int Bytes)[] s_expected =
    [
        ("F32", 0, 1, 4),
        ("F16", 1, 1, 2),
        ("Q4_0", 2, 32, 18),
        ("Q4_1", 3, 32, 20),
        ("Q5_0", 6, 32, 22),
        ("Q5_1", 7, 32, 24),
        ("Q8_0", 8, 32, 34),
        ("Q2_K", 10, 256, 84),
        ("Q3_K", 11, 256, 110),
        ("Q4_K", 12, 256, 144),
        ("Q5_K", 13, 256, 176),
        ("Q6_K", 14, 256, 210),
        ("IQ4_NL", 20, 32, 18),
        ("IQ4_XS", 23, 256, 136),
        ("BF16", 30, 1, 2),
        ("TQ1_0", 34, 256, 54),
        ("TQ2_0", 35, 256, 66),
        ("MXFP4", 39, 32, 17),
        ("NVFP4", 40, 64, 36),
    ];

    public static TheoryData<string> Names => [.. BlockFormats.All.Select(format => format.Name)];

    [Fact]
    public void The_table_lists_exactly_the_expected_formats_in_order()
    {
        Assert.Equal(s_expected, BlockFormats.All.Select(f => (f.Name, f.Id, f.BlockValues, f.BlockBytes)));
    }

    [Fact]
    public void A_block_struct_has_the_size_of_its_block()
    {
        (string, int)[] sizes =
        [
            ("F32", Unsafe.SizeOf<F32>()), ("F16", Unsafe.SizeOf<F16>()), ("Q4_0", Unsafe.SizeOf<Q4_0>()), ("Q4_1", Unsafe.SizeOf<Q4_1>()),
            ("Q5_0", Unsafe.SizeOf<Q5_0>()), ("Q5_1", Unsafe.SizeOf<Q5_1>()), ("Q8_0", Unsafe.SizeOf<Q8_0>()), ("Q2_K", Unsafe.SizeOf<Q2_K>()),
            ("Q3_K", Unsafe.SizeOf<Q3_K>()), ("Q4_K", Unsafe.SizeOf<Q4_K>()), ("Q5_K", Unsafe.SizeOf<Q5_K>()), ("Q6_K", Unsafe.SizeOf<Q6_K>()),
            ("IQ4_NL", Unsafe.SizeOf<IQ4_NL>()), ("IQ4_XS", Unsafe.SizeOf<IQ4_XS>()), ("BF16", Unsafe.SizeOf<BF16>()), ("TQ1_0", Unsafe.SizeOf<TQ1_0>()),
            ("TQ2_0", Unsafe.SizeOf<TQ2_0>()), ("MXFP4", Unsafe.SizeOf<MXFP4>()), ("NVFP4", Unsafe.SizeOf<NVFP4>()),
        ];
        Assert.Equal(s_expected.Select(e => (e.Name, e.Bytes)), sizes);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void A_format_is_found_by_number_and_by_name_in_any_case(string name)
    {
        BlockFormat format = BlockFormats.Find(name)!;
        Assert.Same(format, BlockFormats.Find(format.Id));
        Assert.Same(format, BlockFormats.Find(name.ToLowerInvariant()));
        Assert.Equal(name, format.ToString());
    }

    [Fact]
    public void A_retired_or_unknown_number_finds_nothing()
    {
        foreach (uint id in (uint[])[4, 5, 9, 31, 32, 33, 36, 37, 38, 43, uint.MaxValue])
            Assert.Null(BlockFormats.Find(id));
        Assert.Null(BlockFormats.Find("Q4"));
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void A_row_that_is_no_multiple_of_the_block_is_refused_with_both_numbers(string name)
    {
        BlockFormat format = BlockFormats.Find(name)!;
        Assert.Equal(3L * format.BlockBytes, format.RowBytes(3L * format.BlockValues));
        Assert.Equal(0, format.RowBytes(0));
        Assert.Contains("-256", Assert.Throws<ArgumentException>(() => format.RowBytes(-256)).Message, StringComparison.Ordinal);
        if (format.BlockValues == 1) return;
        string message = Assert.Throws<ArgumentException>(() => format.RowBytes(format.BlockValues + 1)).Message;
        Assert.Contains($"{format.BlockValues + 1}", message, StringComparison.Ordinal);
        Assert.Contains($"multiple of {format.BlockValues}", message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Lengths_that_do_not_fit_are_refused_with_the_numbers(string name)
    {
        BlockFormat format = BlockFormats.Find(name)!;
        byte[] blocks = new byte[2 * format.BlockBytes + 1];
        float[] values = new float[2 * format.BlockValues + 1];
        (int Bytes, int Values)[] wrong =
        [
            (2 * format.BlockBytes + 1, 2 * format.BlockValues),
            (2 * format.BlockBytes - 1, 2 * format.BlockValues),
            (2 * format.BlockBytes, 2 * format.BlockValues + 1),
            (2 * format.BlockBytes, 2 * format.BlockValues - 1),
            (format.BlockBytes, 0),
            (0, format.BlockValues),
        ];
        foreach ((int bytes, int count) in wrong)
        {
            Check(() => format.Decode(blocks.AsSpan(0, bytes), values.AsSpan(0, count)), bytes, count);
            Check(() => format.Dot(blocks.AsSpan(0, bytes), values.AsSpan(0, count)), bytes, count);
            Check(() => format.Encode(values.AsSpan(0, count), blocks.AsSpan(0, bytes)), bytes, count);
            Check(() => format.EncodeRow(values.AsSpan(0, count), values.AsSpan(0, count), blocks.AsSpan(0, bytes)), bytes, count);
        }

        static void Check(Action act, int bytes, int count)
        {
            string message = Assert.Throws<ArgumentException>(act).Message;
            Assert.Contains($"{bytes} bytes", message, StringComparison.Ordinal);
            Assert.Contains($"{count} values", message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Importances_for_another_number_of_columns_are_refused_with_both_numbers(string name)
    {
        BlockFormat format = BlockFormats.Find(name)!;
        float[] row = new float[2 * format.BlockValues], importance = new float[row.Length + 1];
        byte[] blocks = new byte[2 * format.BlockBytes];
        string message = Assert.Throws<ArgumentException>(() => format.EncodeRow(row, importance, blocks)).Message;
        Assert.Contains($"{importance.Length} importances", message, StringComparison.Ordinal);
        Assert.Contains($"{row.Length} columns", message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void An_empty_row_is_decoded_to_nothing_and_its_dot_is_zero(string name)
    {
        BlockFormat format = BlockFormats.Find(name)!;
        format.Decode([], []);
        Assert.Equal(0f, format.Dot([], []));
    }
}
