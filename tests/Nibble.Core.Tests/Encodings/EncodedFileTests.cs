using System.Runtime.InteropServices;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Testing;
using Xunit;

namespace Nibble.Core.Tests.Encodings;

public sealed class EncodedFileTests(ITestOutputHelper output) : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Files_with_a_missing_or_foreign_part_are_refused_by_name()
    {
        TensorEncoding encoding = EncodedSamples.Encodings(64, 4)["int4-zeros"];
        string key = EncodedTensors.KeyPrefix + encoding.Name;
        Refused(writer => writer.Set(key, encoding.ToText().Replace("rows=4", "rows=5", StringComparison.Ordinal)), "'blk.0.attn_q.weight.codes' is I8 [32 x 4]; I8 [32 x 5] is needed");
        Refused(writer => writer.Set(key, encoding.ToText().Replace("scales=F16", "scales=F32", StringComparison.Ordinal)), "'blk.0.attn_q.weight.scales' is F16 [1 x 4]; F32 [1 x 4] is needed");
        Refused(writer => writer.Set(EncodedTensors.KeyPrefix + "x", encoding.ToText()), "tensor 'x.codes' is missing; I8 [32 x 4] is needed");
        Refused(writer => writer.Set(EncodedTensors.VersionKey, 2u), "it is 2; version 1 can be read: the file may be newer");
        Refused(writer => writer.Remove(EncodedTensors.VersionKey), "'nibble.encoding.version': it is missing");
        Refused(writer => writer.Set(key, 7u), "it holds UInt32; String is needed");
        Refused(writer => writer.AddTensor(encoding.Name, BlockFormats.F32, [1], new byte[4]), "there is a plain tensor of this name, too");
        void Refused(Action<GgufWriter> change, string message) => this.Refused(encoding, EncodedSamples.Data(encoding, 4), change, message);
    }

    /// <summary>Words of a description, and what is said of the file.</summary>
    [Theory]
    [InlineData("int4-zeros", "rows=4", "rows=0", "rows of blk.0.attn_q.weight is 0; 1 to 2147483647 are possible")]
    [InlineData("int4-zeros", "columns=64", "columns=0", "columns of blk.0.attn_q.weight is 0; 1 to 2147483647 are possible")]
    [InlineData("int4-zeros", "rows=4", "rows=4 matrices=0", "matrices of blk.0.attn_q.weight is 0; 1 to 536870911 are possible")]
    [InlineData("int4-zeros", "group=64", "group=0", "group of blk.0.attn_q.weight is 0; 1 to 2147483647 are possible")]
    [InlineData("int4-zeros", "group=64", "group=48", "blk.0.attn_q.weight has 64 columns, which groups of 48 do not divide; 32, 64 and the whole row (64) are possible")]
    [InlineData("int4-zeros", "group=64", "group=32", "tensor 'blk.0.attn_q.weight.scales' is F16 [1 x 4]; F16 [2 x 4] is needed")]
    [InlineData("int4-zeros", "zeros=I8", "zeros=I8 zero=8", "zero of blk.0.attn_q.weight is 8; 0 to 0 are possible")]
    [InlineData("int4-zeros", "bits=4", "bits=6", "codes of blk.0.attn_q.weight have 6 bits; 2, 3, 4 and 8 are possible")]
    [InlineData("int4-zeros", "bits=4", "bits=8", "tensor 'blk.0.attn_q.weight.codes' is I8 [32 x 4]; I8 [64 x 4] is needed")]
    [InlineData("int4-zeros", "columns=64 rows=4", "columns=2147483647 rows=2147483647", "blk.0.attn_q.weight has 2147483647 columns of 4 bits; a row must fill whole bytes, so a multiple of 2 columns is needed")]
    [InlineData("int4-zeros", "row_order", "row_order outliers=1 outlier_values=F16", "tensor 'blk.0.attn_q.weight.outlier_columns' is missing; I32 [1] is needed")]
    [InlineData("nf4", "block=64", "block=0", "block of blk.0.attn_q.weight is 0; 1 to 2147483647 are possible")]
    [InlineData("nf4", "block=64", "block=16", "tensor 'blk.0.attn_q.weight.scales' is F32 [4]; F32 [16] is needed")]
    [InlineData("nf4", "table=nf4", "table=nf5", "the table of blk.0.attn_q.weight is called 'nf5'; nf4, fp4 and custom are possible")]
    [InlineData("nf4-double", "nested_block=256", "nested_block=3", "tensor 'blk.0.attn_q.weight.nested_scales' is F32 [1]; F32 [2] is needed")]
    [InlineData("nf4-double", "nested_offset=0.0123", "nested_offset=1e39", "nested_offset is '1e39'; a finite number is needed")]
    [InlineData("fp8", "block_rows=128", "block_rows=0", "block_rows of blk.0.attn_q.weight is 0; 1 to 2147483647 are possible")]
    [InlineData("fp8", "block_columns=128", "block_columns=32", "tensor 'blk.0.attn_q.weight.scales' is F32 [1]; F32 [2] is needed")]
    [InlineData("llm.int8-outliers", "outliers=5", "outliers=65", "outliers of blk.0.attn_q.weight is 65; 0 to 64 are possible")]
    [InlineData("llm.int8-outliers", "outliers=5", "outliers=6", "tensor 'blk.0.attn_q.weight.outlier_columns' is I32 [5]; I32 [6] is needed")]
    [InlineData("llm.int8-outliers", "outlier_values=F16", "outlier_values=I8", "outlier_values of blk.0.attn_q.weight are I8; F32, F16, BF16 are possible")]
    public void Descriptions_that_parts_do_not_fit_are_refused_by_tensor_value_and_bound(string name, string words, string changed, string message)
    {
        TensorEncoding encoding = EncodedSamples.Encodings(64, 4)[name];
        string text = encoding.ToText();
        Assert.Contains(words, text, StringComparison.Ordinal);
        Refused(encoding, EncodedSamples.Data(encoding, 4), writer => writer.Set(EncodedTensors.KeyPrefix + encoding.Name, text.Replace(words, changed, StringComparison.Ordinal)), message);
    }

    /// <summary>Orders and columns that a writer of ours would never write: their bytes in the file are changed.</summary>
    [Theory]
    [InlineData("int4-zeros", EncodedPart.RowOrder, 2, 4, "row_order[2] is 4; 0 to 3 are possible")]
    [InlineData("int4-zeros", EncodedPart.RowOrder, 0, int.MinValue, "row_order[0] is -2147483648; 0 to 3 are possible")]
    [InlineData("int4-zeros", EncodedPart.ColumnOrder, 63, 64, "column_order[63] is 64; 0 to 63 are possible")]
    [InlineData("int4-zeros", EncodedPart.ColumnOrder, 63, -1, "column_order[63] is -1; 0 to 63 are possible")]
    [InlineData("llm.int8-outliers", EncodedPart.OutlierColumns, 4, 64, "outlier_columns[4] is 64; ")]
    [InlineData("llm.int8-outliers", EncodedPart.OutlierColumns, 0, -1, "outlier_columns[0] is -1; 0 to 63 are possible, in ascending order")]
    public void Orders_and_outliers_out_of_range_are_refused_by_tensor_value_and_bound(string name, EncodedPart part, int place, int value, string message)
    {
        TensorEncoding encoding = EncodedSamples.Encodings(64, 4)[name];
        Refused(encoding, EncodedSamples.Data(encoding, 4), null, "blk.0.attn_q.weight." + message, (part, values => values[place] = value));
    }

    [Theory]
    [InlineData("int4-zeros", EncodedPart.RowOrder, "row_order[3] is ", ", which is there already; each of 0 to 3 must be there once")]
    [InlineData("int4-zeros", EncodedPart.ColumnOrder, "column_order[3] is ", ", which is there already; each of 0 to 63 must be there once")]
    [InlineData("llm.int8-outliers", EncodedPart.OutlierColumns, "outlier_columns[3] is ", " to 63 are possible, in ascending order")]
    public void Orders_and_outliers_that_hold_one_twice_are_refused(string name, EncodedPart part, string message, string bound)
    {
        TensorEncoding encoding = EncodedSamples.Encodings(64, 4)[name];
        string said = Refused(encoding, EncodedSamples.Data(encoding, 4), null, "blk.0.attn_q.weight." + message, (part, values => values[3] = values[2]));
        Assert.Contains(bound, said, StringComparison.Ordinal);
    }

    [Fact]
    public void Names_that_a_terminal_would_obey_or_no_part_can_have_are_refused()
    {
        TensorEncoding encoding = EncodedSamples.Encodings(64, 4)["int4"];
        Refused(encoding, EncodedSamples.Data(encoding, 4), writer => writer.Set(EncodedTensors.KeyPrefix + "a\u001B[31m", "int9"), "holds the control character U+001B");
        Refused(encoding, EncodedSamples.Data(encoding, 4), writer => writer.Set(EncodedTensors.KeyPrefix + new string('a', 58), "int9"), "the tensor's name has 58 bytes; 1 to 57 are possible");
        Refused(encoding, EncodedSamples.Data(encoding, 4), writer => writer.Set(EncodedTensors.KeyPrefix, "int9"), "the tensor's name has 0 bytes; 1 to 57 are possible");
    }

    [Fact]
    public void Files_that_end_early_are_refused()
    {
        foreach ((string name, TensorEncoding encoding) in EncodedSamples.Encodings(64, 3))
        {
            GgufWriter writer = new();
            EncodedTensors.Add(writer, encoding, EncodedSamples.Data(encoding, 6));
            using MemoryStream stream = new();
            writer.Write(stream);
            byte[] bytes = stream.ToArray();
            long end;
            using (GgufFile whole = GgufFile.Open(_folder.Write("whole.gguf", bytes)))
                end = whole.Tensors.Max(tensor => tensor.FileOffset + tensor.ByteLength);
            for (int length = (int)end - 1; length > 0; length -= 1 + (length / 40))
            {
                string path = _folder.Write("short.gguf", bytes.AsSpan(0, length).ToArray());
                GgufException e = Assert.Throws<GgufException>(() =>
                {
                    using GgufFile file = GgufFile.Open(path);
                    EncodedTensors.Read(file);
                });
                Assert.StartsWith("short.gguf, offset", e.Message, StringComparison.Ordinal);
            }

            output.WriteLine($"{name}: {end} bytes");
        }
    }

    private string Refused(TensorEncoding encoding, EncodedData data, Action<GgufWriter>? change, string message, (EncodedPart Part, Action<Span<int>> Change)? integers = null)
    {
        GgufWriter writer = new();
        EncodedTensors.Add(writer, encoding, data);
        change?.Invoke(writer);
        string path = _folder.File("bad.gguf");
        writer.Write(path);
        if (integers is { } one)
        {
            byte[] bytes = File.ReadAllBytes(path);
            using (GgufFile good = GgufFile.Open(path))
            {
                GgufTensor tensor = good.Find(EncodedTensors.PartName(encoding.Name, one.Part))!;
                one.Change(MemoryMarshal.Cast<byte, int>(bytes.AsSpan((int)tensor.FileOffset, (int)tensor.ByteLength)));
            }

            File.WriteAllBytes(path, bytes);
        }

        using GgufFile file = GgufFile.Open(path);
        GgufException e = Assert.Throws<GgufException>(() => file.Weights);
        Assert.Contains(message, e.Message, StringComparison.Ordinal);
        Assert.StartsWith("bad.gguf, offset", e.Message, StringComparison.Ordinal);
        return e.Message;
    }

    [Fact]
    public void Changed_files_are_refused_or_decoded_without_a_read_outside_their_parts()
    {
        const int Seed = 20;
        Random random = new(Seed);
        GgufWriter writer = new();
        foreach ((string name, TensorEncoding encoding) in EncodedSamples.Encodings(64, 3))
            EncodedTensors.Add(writer, encoding with { Name = name }, EncodedSamples.Data(encoding, 6));
        using MemoryStream stream = new();
        writer.Write(stream);
        byte[] bytes = stream.ToArray();
        int read = 0, refused = 0;
        for (int i = 0; i < 3000; i++)
        {
            byte[] changed = [.. bytes];
            int changes = 1 + random.Next(3);
            for (int c = 0; c < changes; c++)
            {
                // Digits and letters of descriptions become others, so that they still read as words; anything else becomes anything.
                int at = random.Next(changed.Length);
                changed[at] = changed[at] is >= (byte)'0' and <= (byte)'9' ? (byte)('0' + random.Next(10)) : (byte)random.Next(256);
            }

            string path = _folder.Write("changed.gguf", changed);
            try
            {
                using GgufFile file = GgufFile.Open(path);
                foreach (EncodedTensor tensor in EncodedTensors.Read(file))
                {
                    float[] values = new float[tensor.Columns];
                    for (long row = 0; row < tensor.RowCount; row++)
                        tensor.DecodeRow(row, values);
                    read++;
                }
            }
            catch (GgufException)
            {
                refused++;
            }
        }

        output.WriteLine($"seed {Seed}: {read} tensors read, {refused} files refused");
        Assert.True(read > 1000 && refused > 100);
    }
}
