using Nibble.Core.Gguf;

namespace Nibble.Core.Tests.Gguf;

/// <summary>The cases that llama.cpp's tests/test-gguf.cpp names, regenerated: each malformed in one field, and each with its well-formed neighbour.</summary>
public class GgufHandcraftedTests : GgufTestBase
{
    private const uint I32 = 26;
    private const uint I64 = 27;

    private static GgufBuilder WithEntries(GgufBuilder? builder = null)
    {
        builder ??= new GgufBuilder();
        for (uint type = 0; type <= 12; type++)
            if (type is not (8 or 9)) builder.Entry($"my_key_{type}", type, Sequence(type switch { 0 or 1 or 7 => 1, 2 or 3 => 2, 4 or 5 or 6 => 4, _ => 8 }));
        return builder.Text("my_key_8", "a string"u8).Array("my_key_9", 5, 3, Sequence(12)).Texts("my_key_strings", ["a"u8.ToArray(), [], "ccc"u8.ToArray()]);
    }

    /// <summary>Three F32 tensors of 40, 96 and 4 bytes, at a given alignment.</summary>
    private static GgufBuilder WithTensors(uint alignment = 32, GgufBuilder? builder = null)
    {
        builder ??= WithEntries();
        ulong Pad(ulong offset) => (offset + alignment - 1) / alignment * alignment;
        ulong second = Pad(40), third = second + Pad(96);
        builder.Tensor("my_tensor_0", [10]).Tensor("my_tensor_1", [2, 3, 4], offset: second).Tensor("my_tensor_2", [1, 1, 1, 1], offset: third);
        builder.Data = new byte[third + Pad(4)];
        Sequence(40).CopyTo(builder.Data, 0);
        Sequence(96).CopyTo(builder.Data, (int)second);
        Sequence(4).CopyTo(builder.Data, (int)third);
        return builder;
    }

    [Fact] public void Header_bad_magic() => Refused(new GgufBuilder { Magic = "FUGG" }, "'FUGG'", "byte-swapped");

    [Fact] public void Header_bad_version_0() => Assert.Equal(4, Refused(new GgufBuilder { Version = 0 }, "version is 0", "2 to 3").Offset);

    [Fact] public void Header_bad_version_1() => Refused(new GgufBuilder { Version = 1 }, "version is 1", "convert the model again");

    [Fact] public void Header_bad_version_future() => Refused(new GgufBuilder { Version = 4 }, "version is 4", "newer");

    [Fact] public void Header_byte_swapped_version() => Refused(new GgufBuilder { Version = 0x03000000 }, "version is 50331648", "byte-swapped");

    [Fact] public void Header_bad_n_tensors() => Assert.Equal(8, Refused(new GgufBuilder { TensorCount = ulong.MaxValue }, "tensor count is 18446744073709551615", "at most 0").Offset);

    [Fact] public void Header_bad_n_kv() => Assert.Equal(16, Refused(new GgufBuilder { EntryCount = ulong.MaxValue }, "metadata count is 18446744073709551615", "at most 0").Offset);

    [Fact]
    public void Header_empty()
    {
        using GgufFile file = Open(new GgufBuilder());
        Assert.Empty(file.Metadata);
        Assert.Empty(file.Tensors);
    }

    [Fact] public void Kv_bad_key_size() => Assert.Equal(24, Refused(new GgufBuilder().Entry("key", 4, Sequence(4), keyLength: ulong.MaxValue), "key's length is 18446744073709551615").Offset);

    [Fact] public void Kv_empty_key() => Assert.Equal(24, Refused(new GgufBuilder().Entry("", 4, Sequence(8)), "key is empty").Offset);

    [Fact] public void Kv_bad_type() => Refused(new GgufBuilder().Entry("my_key", 13, Sequence(8)), "key 'my_key'", "type is 13", "0 to 12");

    [Fact] public void Kv_bad_element_type() => Refused(new GgufBuilder().Array("my_key", 13, 1, Sequence(8)), "key 'my_key'", "elements' type is 13", "0 to 12");

    [Fact] public void Kv_bad_value_size() => Refused(new GgufBuilder().Text("my_key", "abc"u8, length: 1 << 30), "key 'my_key'", "string's length is 1073741824", "at most 3");

    [Fact] public void Kv_duplicate_key() => Refused(WithEntries().UInt32("my_key_4", 1), "key 'my_key_4'", "twice");

    [Fact] public void Kv_bad_align() => Refused(WithEntries().UInt32("general.alignment", 13), "'general.alignment'", "is 13", "power of two");

    [Fact] public void Kv_zero_align() => Refused(WithEntries().UInt32("general.alignment", 0), "'general.alignment'", "is 0", "power of two");

    [Fact] public void Kv_align_above_the_limit() => Refused(WithEntries().UInt32("general.alignment", 1 << 21), "'general.alignment'", "is 2097152", "to 1048576");

    [Fact] public void Kv_wrong_type_align() => Refused(WithEntries().Entry("general.alignment", 5, [32, 0, 0, 0]), "'general.alignment'", "Int32", "UInt32 is needed");

    [Fact]
    public void Kv_success()
    {
        byte[] bytes = WithEntries().Build();
        using GgufFile file = Open(bytes);
        Assert.Equal(14, file.Metadata.Count);
        Assert.Equal(["a", "", "ccc"], file.Metadata.GetStrings("my_key_strings"));
        GgufWriter writer = GgufWriter.From(file);
        Assert.False(writer.PadEnd);
        Assert.Equal(bytes, Written(writer));
    }

    [Fact]
    public void Tensors_bad_name_size() =>
        Refused(new GgufBuilder { Data = Sequence(4) }.Tensor(new string('n', 64), [1]), "tensor's name is 64", "at most 63");

    [Fact] public void Tensors_empty_name() => Refused(new GgufBuilder { Data = Sequence(64) }.Tensor("", [1]), "name is empty");

    [Fact] public void Tensors_bad_n_dims() => Refused(new GgufBuilder { Data = Sequence(64) }.Tensor("t", [1, 1, 1, 1, 1]), "tensor 't'", "dimension count is 5", "1 to 4");

    [Fact] public void Tensors_no_dims() => Refused(new GgufBuilder { Data = Sequence(64) }.Tensor("t", []), "tensor 't'", "dimension count is 0", "1 to 4");

    [Fact] public void Tensors_bad_shape() => Refused(new GgufBuilder { Data = Sequence(64) }.Tensor("t", [-1]), "tensor 't'", "dimension is -1", "0 to 2147483647");

    [Fact]
    public void Tensors_zero_dim()
    {
        byte[] bytes = new GgufBuilder { Data = Sequence(32) }.Tensor("none", [10, 0]).Tensor("some", [8]).Build();
        using GgufFile file = Open(bytes);
        Assert.Equal(0, file.Find("none")!.RowCount);
        Assert.Equal(0, file.Find("none")!.ByteLength);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Find("none")!.Row(0).Length);
        Assert.Equal(Sequence(32), file.Find("some")!.Row(0));
        Assert.Equal(bytes, Rewritten(file));
    }

    [Fact] public void Tensors_ne_too_big() => Refused(new GgufBuilder { Data = Sequence(64) }.Tensor("t", [4L * int.MaxValue, 4L * int.MaxValue]), "tensor 't'", "dimension is 8589934588");

    [Theory]
    [InlineData(long.MaxValue, 2L)]
    [InlineData(2L, long.MaxValue)]
    [InlineData(long.MinValue, 2L)]
    [InlineData(1L << 32, 1L << 32)]
    public void Tensors_ne_whose_product_wraps(long first, long second) => Refused(new GgufBuilder { Data = Sequence(64) }.Tensor("t", [first, second]), "tensor 't'", "a dimension is");

    [Fact]
    public void Tensors_nbytes_too_big() =>
        Refused(new GgufBuilder { Data = Sequence(64) }.Tensor("t", [1 << 28, int.MaxValue, int.MaxValue]), "tensor 't'", $"takes {(UInt128)(1 << 30) * int.MaxValue * int.MaxValue} bytes");

    [Fact] public void Tensors_row_too_big() => Refused(new GgufBuilder { Data = Sequence(64) }.Tensor("t", [1 << 30]), "tensor 't'", "row takes 4294967296 bytes");

    [Fact] public void Tensors_too_many_matrices() => Refused(new GgufBuilder { Data = Sequence(64) }.Tensor("t", [1, 1, 1 << 20, 1 << 20]), "tensor 't'", "1099511627776 matrices");

    [Fact] public void Tensors_bad_type() => Refused(new GgufBuilder { Data = Sequence(64) }.Tensor("t", [1], type: 43), "tensor 't'", "type is 43", "unknown", "0 to 42");

    [Fact] public void Tensors_bad_offset() => Refused(new GgufBuilder { Data = Sequence(64) }.Tensor("t", [1], offset: ulong.MaxValue), "tensor 't'", "offset is 18446744073709551615", "0 is next");

    [Fact] public void Tensors_overlapping() => Refused(new GgufBuilder { Data = Sequence(64) }.Tensor("t", [16]).Tensor("u", [1], offset: 32), "tensor 'u'", "offset is 32", "64 is next");

    [Fact] public void Tensors_with_a_gap() => Refused(new GgufBuilder { Data = Sequence(99) }.Tensor("t", [1]).Tensor("u", [1], offset: 64), "tensor 'u'", "offset is 64", "32 is next");

    [Fact] public void Tensors_duplicate_name() => Refused(new GgufBuilder { Data = Sequence(64) }.Tensor("t", [1]).Tensor("t", [1], offset: 32), "tensor 't'", "two tensors");

    [Fact] public void Tensors_bad_align() => Refused(WithTensors(builder: WithEntries().UInt32("general.alignment", 13)), "'general.alignment'", "is 13");

    [Fact] public void Tensors_inconsistent_align() => Refused(WithTensors(alignment: 1), "tensor 'my_tensor_1'", "offset is 40", "64 is next", "alignment of 32");

    [Fact] public void Tensors_success() => RoundTrips(WithTensors(), alignment: 32);

    [Fact] public void Tensors_custom_align() => RoundTrips(WithTensors(1, WithEntries(new GgufBuilder { Alignment = 1 }).UInt32("general.alignment", 1)), alignment: 1);

    [Fact]
    public void Data_not_enough_data()
    {
        GgufBuilder builder = WithTensors();
        builder.Data = builder.Data[..^29];
        Refused(builder, "tensor 'my_tensor_2'", "its data ends at");
    }

    [Fact]
    public void Data_absent()
    {
        GgufBuilder builder = WithTensors();
        builder.Data = [];
        Refused(builder, "tensor 'my_tensor_0'", "its data ends at");
    }

    [Fact] public void Data_inconsistent_align() => Refused(WithTensors(alignment: 64), "tensor 'my_tensor_2'", "offset is 192", "160 is next");

    [Theory]
    [InlineData(I32)]
    [InlineData(0u)]
    public void Data_mem_size_overflow(uint type) =>
        Refused(new GgufBuilder { Data = Sequence(32) }.Tensor("t", [0x7FFFFFFFFFFFFFC0], type).Tensor("u", [0x7FFFFFFFFFFFFFC0], type, 0x7FFFFFFFFFFFFFC0), "tensor 't'", "a dimension is 9223372036854775744");

    [Fact] public void Data_success() => RoundTrips(WithTensors(), alignment: 32);

    [Fact]
    public void Data_without_the_last_padding()
    {
        GgufBuilder builder = WithTensors();
        builder.Data = builder.Data[..^28];
        RoundTrips(builder, alignment: 32);
    }

    [Theory]
    [InlineData(2u)]
    [InlineData(64u)]
    [InlineData(4096u)]
    [InlineData(1u << 20)]
    public void Data_custom_align(uint alignment) =>
        RoundTrips(WithTensors(alignment, WithEntries(new GgufBuilder { Alignment = alignment }).UInt32("general.alignment", alignment)), alignment);

    [Fact] public void Array_of_arrays() => Refused(new GgufBuilder().Array("my_key", 9, 1, [.. BitConverter.GetBytes(4u), .. BitConverter.GetBytes(1UL), 1, 0, 0, 0]), "key 'my_key'", "array of arrays");

    [Theory]
    [InlineData(1UL << 30)]
    [InlineData(ulong.MaxValue)]
    [InlineData(1UL << 63)]
    [InlineData((1UL << 61) + 1)]
    public void Array_count_beyond_the_file(ulong count)
    {
        Refused(new GgufBuilder().Array("my_key", 12, count, Sequence(100)), "key 'my_key'", $"element count is {count}", "at most 100");
        Refused(new GgufBuilder().Texts("my_key", [Sequence(3)], count), "key 'my_key'", $"element count is {count}", "at most 11");
    }

    [Fact] public void Array_bytes_beyond_the_file() => Refused(new GgufBuilder().Array("my_key", 12, 13, Sequence(100)), "key 'my_key'", "needs 104 bytes", "ends after 100");

    [Fact] public void Array_of_strings_beyond_the_file() => Refused(new GgufBuilder().Texts("my_key", [Sequence(3), Sequence(20)], 5), "key 'my_key'", "5 strings", "39 remain");

    [Fact] public void Key_of_invalid_utf8() => Refused([.. "GGUF"u8, 3, 0, 0, 0, .. new byte[8], 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0, 0, 0, 0, 9], "not valid UTF-8");

    [Fact] public void Key_above_64_KiB() => Refused(new GgufBuilder().UInt32(new string('k', 65537), 1), "key's length is 65537", "at most 65536");

    [Fact]
    public void String_above_64_MiB() =>
        RefusedAtLength(new GgufBuilder().Text("my_key", [], length: (64 << 20) + 1), 100 << 20, "key 'my_key'", "string's length is 67108865", "at most 67108864");

    [Fact]
    public void Small_file_that_asks_for_a_GiB_is_refused_without_allocating_it()
    {
        byte[] bytes = new GgufBuilder().Text("my_key", Sequence(100), 1 << 30).Build();
        string path = Folder.Write(FileName, bytes);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Throws<GgufException>(() => GgufFile.Open(path));
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
    }

    [Theory]
    [InlineData(15u, "Q8_K")]
    [InlineData(16u, "IQ2_XXS")]
    [InlineData(25u, "I16")]
    [InlineData(I64, "I64")]
    [InlineData(28u, "F64")]
    [InlineData(29u, "IQ1_M")]
    public void Type_that_cannot_be_run_is_refused_by_name(uint type, string name) =>
        Refused(new GgufBuilder { Data = Sequence(256) }.Tensor("blk.0.attn_q.weight", [1], type), "tensor 'blk.0.attn_q.weight'", $"{name} ({type})", "cannot be run", "Q4_K");

    [Theory]
    [InlineData(4u, "Q4_2", "Q4_0")]
    [InlineData(5u, "Q4_3", "Q4_0")]
    [InlineData(31u, "Q4_0_4_4", "Q4_0")]
    [InlineData(33u, "Q4_0_8_8", "Q4_0")]
    [InlineData(36u, "IQ4_NL_4_4", "IQ4_NL")]
    [InlineData(38u, "IQ4_NL_8_8", "IQ4_NL")]
    public void Retired_type_is_refused_by_name(uint type, string name, string instead) =>
        Refused(new GgufBuilder { Data = Sequence(256) }.Tensor("t", [1], type), "tensor 't'", $"{name} ({type})", "removed", $"as {instead}");

    [Fact] public void Columns_that_are_no_multiple_of_the_block_are_refused() => Refused(new GgufBuilder { Data = Sequence(256) }.Tensor("t", [33], 8), "tensor 't'", "dimension 0 is 33", "Q8_0 needs a multiple of 32");

    [Theory]
    [InlineData("")]
    [InlineData("GG")]
    [InlineData("GGUF\u0003\0\0\0")]
    public void File_shorter_than_a_header_is_refused(string text) => Refused([.. text.Select(c => (byte)c)], text.Length == 0 ? "empty" : "the file ends after");

    [Fact] public void Git_lfs_pointer_is_named() => Refused("version https://git-lfs.github.com/spec/v1\n"u8.ToArray(), "Git LFS pointer");

    [Fact]
    public void Control_characters_of_a_file_do_not_reach_the_message()
    {
        GgufException exception = Refused(new GgufBuilder().Entry("a\u001b[31m\nb" + new string('x', 500), 99, []), "type is 99");
        Assert.DoesNotContain(exception.Message, char.IsControl);
        Assert.InRange(exception.Message.Length, 1, 300);
    }

    [Fact]
    public void Folder_and_missing_file_are_ordinary_errors()
    {
        Assert.Contains("is a folder", Assert.Throws<FileNotFoundException>(() => GgufFile.Open(Folder.Root)).Message, StringComparison.Ordinal);
        Assert.Contains("no file 'none.gguf'", Assert.Throws<FileNotFoundException>(() => GgufFile.Open(Folder.File("none.gguf"))).Message, StringComparison.Ordinal);
    }

    private void RoundTrips(GgufBuilder builder, uint alignment)
    {
        byte[] bytes = builder.Build();
        using GgufFile file = Open(bytes);
        Assert.Equal(alignment, file.Alignment);
        Assert.Equal([10], file.Find("my_tensor_0")!.Dimensions);
        GgufTensor tensor = file.Find("my_tensor_1")!;
        Assert.Equal((2, 3, 4), (tensor.Columns, tensor.Rows, tensor.Matrices));
        int start = (int)((40 + alignment - 1) / alignment * alignment);
        for (int row = 0; row < 12; row++) Assert.Equal(builder.Data.AsSpan(start + row * 8, 8), tensor.Row(row));
        byte[] rows = new byte[24];
        tensor.ReadRows(9, rows);
        Assert.Equal(builder.Data.AsSpan(start + 72, 24), rows.AsSpan());
        Assert.Throws<ArgumentOutOfRangeException>(() => tensor.ReadRows(10, rows));
        Assert.Throws<ArgumentOutOfRangeException>(() => tensor.ReadRows(-1, rows));
        Assert.Throws<ArgumentOutOfRangeException>(() => tensor.ReadRows(0, new byte[9]));
        Assert.Equal(bytes, Rewritten(file));
    }
}
