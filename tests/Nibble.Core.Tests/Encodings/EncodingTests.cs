using System.Text.RegularExpressions;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Testing;
using Xunit;

namespace Nibble.Core.Tests.Encodings;

public sealed class EncodingTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public static TheoryData<string> Names => [.. EncodedSamples.Encodings(128, 1).Keys];

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(Names))]
    public void Codes_scales_and_zeros_give_the_values(string name)
    {
        foreach ((int columns, int rows, int matrices) in new[] { (128, 5, 1), (192, 3, 1), (64, 131, 1), (320, 130, 2), (48 * 8, 7, 1) })
        {
            TensorEncoding encoding = EncodedSamples.Encodings(columns, rows)[name];
            if (encoding.Outliers == 0) encoding = encoding with { Matrices = matrices };
            EncodedTensor tensor = new(encoding, EncodedSamples.Data(encoding, 1));
            int run = tensor.ScaleRun;
            Assert.Equal(0, columns % run);
            byte[] codes = new byte[columns];
            float[] scales = new float[columns / run], zeros = new float[columns / run], values = new float[columns], outliers = new float[tensor.OutlierColumns.Length];
            for (long row = 0; row < tensor.RowCount; row += rows > 20 ? 13 : 1)
            {
                tensor.CopyCodes(row, codes);
                tensor.CopyScales(row, scales, zeros);
                tensor.CopyOutliers(row, outliers);
                tensor.DecodeRow(row, values);
                for (int j = 0; j < columns; j++)
                {
                    int column = tensor.ColumnOrder.IsEmpty ? j : tensor.ColumnOrder[j], outlier = tensor.OutlierColumns.BinarySearch(column);
                    double value = tensor.CodeValues.IsEmpty ? codes[j] : tensor.CodeValues[codes[j]];
                    double expected = outlier >= 0 ? outliers[outlier] : scales[j / run] * (value - zeros[j / run]);
                    Assert.Equal(expected, values[column], Math.Abs(expected) * 2e-6);
                }
            }

            Assert.Throws<ArgumentException>(() => tensor.CopyCodes(0, new byte[columns - 1]));
            Assert.Throws<ArgumentException>(() => tensor.CopyScales(0, scales, new float[zeros.Length + 1]));
            Assert.Throws<ArgumentOutOfRangeException>(() => tensor.CopyCodes(tensor.RowCount, codes));
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Values_from_a_file_are_those_of_the_formula_bit_for_bit(string name)
    {
        foreach ((int columns, int rows, int matrices) in new[] { (128, 5, 1), (192, 3, 1), (64, 131, 1), (128, 130, 2) })
        {
            TensorEncoding encoding = EncodedSamples.Encodings(columns, rows)[name];
            if (encoding.Outliers == 0) encoding = encoding with { Matrices = matrices };
            EncodedData data = EncodedSamples.Data(encoding, 1);
            string path = _folder.File($"{columns}.gguf");
            GgufWriter writer = new();
            EncodedTensors.Add(writer, encoding, data);
            writer.Write(path);
            using GgufFile file = GgufFile.Open(path);
            EncodedTensor tensor = Assert.Single(EncodedTensors.Read(file));
            Assert.Equal(encoding, tensor.Encoding);
            Assert.Equal(file.Tensors.Sum(part => part.ByteLength), tensor.ByteLength);

            Dictionary<EncodedPart, byte[]> parts = [];
            foreach (EncodedPartShape part in encoding.Parts())
            {
                using MemoryStream bytes = new();
                file.Find(EncodedTensors.PartName(encoding.Name, part.Part))!.CopyTo(bytes);
                parts.Add(part.Part, bytes.ToArray());
            }

            EncodingFormula formula = new(encoding, parts);
            EncodedTensor inMemory = new(encoding, data);
            float[] values = new float[columns], others = new float[columns];
            for (int matrix = 0; matrix < encoding.Matrices; matrix++)
            {
                for (int row = 0; row < rows; row += rows > 20 ? 13 : 1)
                {
                    tensor.DecodeRow(((long)matrix * rows) + row, values);
                    inMemory.DecodeRow(((long)matrix * rows) + row, others);
                    Assert.Equal(others, values);
                    for (int column = 0; column < columns; column++)
                        Assert.Equal(BitConverter.SingleToUInt32Bits(formula.Value(matrix, row, column)), BitConverter.SingleToUInt32Bits(values[column]));
                }
            }
        }
    }

    [Fact]
    public void Groups_counted_through_the_matrix_cross_rows()
    {
        TableEncoding encoding = new("t.weight", 96, 3) { Block = 64, IsFlat = true };
        GroupEncoding group = new("t.weight", 40, 3) { Bits = 4, Group = 64, IsFlat = true, ZeroFormat = BlockFormats.F32 };
        foreach (TensorEncoding one in (TensorEncoding[])[encoding, group])
        {
            EncodedData data = EncodedSamples.Data(one, 5);
            Dictionary<EncodedPart, byte[]> parts = one.Parts().ToDictionary(part => part.Part, part =>
            {
                using MemoryStream bytes = new();
                GgufWriter writer = new();
                EncodedTensors.Add(writer, one, data);
                string path = _folder.File("flat.gguf");
                writer.Write(path);
                using GgufFile file = GgufFile.Open(path);
                file.Find(EncodedTensors.PartName(one.Name, part.Part))!.CopyTo(bytes);
                return bytes.ToArray();
            });
            EncodingFormula formula = new(one, parts);
            EncodedTensor tensor = new(one, data);
            float[] values = new float[one.Columns];
            for (int row = 0; row < 3; row++)
            {
                tensor.DecodeRow(row, values);
                for (int column = 0; column < values.Length; column++)
                    Assert.Equal(formula.Value(0, row, column), values[column]);
            }
        }
    }

    [Fact]
    public void Parts_made_late_are_made_once_a_file_and_let_go()
    {
        TensorEncoding encoding = EncodedSamples.Encodings(64, 4)["int4-zeros"];
        int made = 0;
        GgufWriter writer = new(), other = new();
        EncodedTensors.Add(writer, encoding, () =>
        {
            made++;
            return EncodedSamples.Data(encoding, 3);
        });
        EncodedTensors.Add(other, encoding, EncodedSamples.Data(encoding, 3));
        using MemoryStream first = new(), second = new(), third = new();
        writer.Write(first);
        writer.Write(second);
        other.Write(third);
        Assert.Equal(2, made);
        Assert.Equal(third.ToArray(), first.ToArray());
        Assert.Equal(third.ToArray(), second.ToArray());
    }

    [Fact]
    public void A_copied_file_has_the_same_bytes()
    {
        string path = _folder.File("a.gguf");
        GgufWriter writer = new();
        foreach ((string name, TensorEncoding encoding) in EncodedSamples.Encodings(128, 7))
            EncodedTensors.Add(writer, encoding with { Name = $"{name}.weight" }, EncodedSamples.Data(encoding, 9));
        writer.Write(path);
        using GgufFile file = GgufFile.Open(path);
        Assert.Equal(EncodedSamples.Encodings(128, 7).Count, EncodedTensors.Read(file).Count);
        using MemoryStream copy = new(), again = new();
        GgufWriter.From(file).Write(copy);
        GgufWriter rebuilt = new();
        foreach (EncodedTensor tensor in EncodedTensors.Read(file))
            EncodedTensors.Add(rebuilt, tensor);
        rebuilt.Write(again);
        Assert.Equal(File.ReadAllBytes(path), copy.ToArray());
        Assert.Equal(File.ReadAllBytes(path), again.ToArray());
    }

    [Theory]
    [InlineData("group columns=576 rows=4 bits=4 group=128 scales=F16 zero=8", "576 columns, which groups of 128 do not divide; 32, 64 and the whole row (576) are possible")]
    [InlineData("group columns=40 rows=4 bits=4 group=32 scales=F16 zero=8", "only the whole row (40) is possible")]
    [InlineData("group columns=64 rows=4 bits=5 group=32 scales=F16 zero=8", "5 bits; 2, 3, 4 and 8 are possible")]
    [InlineData("group columns=64 rows=4 bits=4 group=32 scales=F16 zero=17", "zero of t is 17; 0 to 16 are possible")]
    [InlineData("group columns=64 rows=4 bits=4 group=32 scales=I8 zero=8", "scales of t are I8; F32, F16, BF16 are possible")]
    [InlineData("group columns=63 rows=4 bits=4 group=63 scales=F16 zero=8", "a multiple of 2 columns is needed")]
    [InlineData("group columns=-64 rows=4 bits=4 group=32 scales=F16 zero=8", "columns is '-64'; a whole number of 0 to 2147483647 is needed")]
    [InlineData("group columns=0 rows=4 bits=4 group=32 scales=F16 zero=8", "columns of t is 0; 1 to 2147483647 are possible")]
    [InlineData("group columns=2147483647 rows=2147483647 matrices=2 bits=8 group=1 scales=F16 zero=8", "matrices of t is 2; 1 to 1 are possible")]
    [InlineData("group columns=64 rows=4 bits=4 group=32 scales=F16 zero=8 colour=red", "'colour' is unknown")]
    [InlineData("group columns=64 rows=4 bits=4 group=32 scales=F16 zero=8 zero=8", "'zero' is there twice")]
    [InlineData("group columns=64 rows=4 bits=4 group=32 zero=8", "scales is missing")]
    [InlineData("table4 columns=64 rows=4 table=nf4 block=64 nested_block=256 nested_offset=NaN", "nested_offset is 'NaN'; a finite number is needed")]
    [InlineData("table4 columns=96 rows=4 table=nf4 block=64 scales=F32", "96 columns, which blocks of 64 do not divide")]
    [InlineData("int9 columns=64 rows=4", "the encoding is 'int9'; known are table4, group, int8 and fp8")]
    [InlineData("int8 columns=64 rows=4 matrices=2 scales=F32 outliers=3 outlier_values=F16", "outliers of t is 3; 0 to 0 are possible")]
    [InlineData("int8 columns=64 rows=4 scales=F32 outliers=3 outlier_values=F16 input_scale", "has 3 outlier columns, whose activations are not rounded, and input_scale")]
    [InlineData("fp8 columns=128 rows=128 block_columns=128 block_rows=128 scales=F32 input_scale", "is fp8 and has input_scale")]
    [InlineData("int8 columns=64 rows=4 scales=F32 row_order=1", "row_order is '1'; it is a flag")]
    public void Descriptions_that_cannot_be_read_are_refused_with_value_and_bound(string text, string message)
    {
        FormatException e = Assert.Throws<FormatException>(() => TensorEncoding.Parse("t", text));
        Assert.Contains(message, e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Descriptions_read_back_as_they_were_written(string name)
    {
        TensorEncoding encoding = EncodedSamples.Encodings(128, 9)[name];
        Assert.Equal(encoding, TensorEncoding.Parse(encoding.Name, encoding.ToText()));
        Assert.Matches(new Regex("^[a-z0-9]+( [a-z_]+(=[A-Za-z0-9.]+)?)+$"), encoding.ToText());
    }

    [Fact]
    public void Bits_per_weight_count_every_part()
    {
        Assert.Equal(4.5 + (16 * 32.0 / (1024 * 1024)), new TableEncoding("t", 1024, 1024) { IsFlat = true }.BitsPerWeight, 1e-12);
        Assert.Equal(4.127, new TableEncoding("t", 4096, 4096) { IsFlat = true, NestedBlock = 256 }.BitsPerWeight, 1e-3);
        Assert.Equal(4 + (16 / 128.0), new GroupEncoding("t", 1024, 1024) { Zero = 8 }.BitsPerWeight, 1e-12);
        Assert.Equal(3 + (24 / 64.0), new GroupEncoding("t", 1024, 1024) { Bits = 3, Group = 64, ZeroFormat = BlockFormats.I8 }.BitsPerWeight, 1e-12);
        Assert.Equal(8 + (32.0 / (128 * 128)), new Float8Encoding("t", 1024, 1024).BitsPerWeight, 1e-12);
    }

    [Theory]
    [InlineData(EncodedPart.RowOrder, 5, "blk.0.attn_q.weight.row_order[3] is 5; 0 to 4 are possible")]
    [InlineData(EncodedPart.RowOrder, -1, "blk.0.attn_q.weight.row_order[3] is -1; 0 to 4 are possible")]
    [InlineData(EncodedPart.ColumnOrder, 64, "blk.0.attn_q.weight.column_order[3] is 64; 0 to 63 are possible")]
    public void Orders_that_are_no_permutation_are_refused(EncodedPart part, int value, string message)
    {
        TensorEncoding encoding = EncodedSamples.Encodings(64, 5)["int4-zeros"];
        int[] order = [.. Enumerable.Range(0, part == EncodedPart.RowOrder ? 5 : 64)];
        order[3] = value;
        EncodedData data = EncodedSamples.Data(encoding, 2).Set<int>(part, order);
        Assert.Contains(message, Assert.Throws<ArgumentException>(() => new EncodedTensor(encoding, data)).Message, StringComparison.Ordinal);
        order[3] = 0;
        data.Set<int>(part, order);
        Assert.Contains("is 0, which is there already", Assert.Throws<ArgumentException>(() => new EncodedTensor(encoding, data)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0f)]
    [InlineData(-0.5f)]
    [InlineData(1e-40f)]
    [InlineData(2e12f)]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void A_scale_of_activations_that_cannot_be_one_is_refused(float scale)
    {
        TensorEncoding encoding = EncodedSamples.Encodings(64, 5)["int8-static"];
        EncodedData data = EncodedSamples.Data(encoding, 2).Set<float>(EncodedPart.InputScale, [scale]);
        Assert.Contains("blk.0.attn_q.weight.input_scale is ", Assert.Throws<ArgumentException>(() => new EncodedTensor(encoding, data)).Message, StringComparison.Ordinal);
        Assert.Equal(0.25f, new EncodedTensor(encoding, data.Set<float>(EncodedPart.InputScale, [0.25f])).InputScale);
        Assert.Equal("int8_row_static", EncodedFormat.Of(encoding).Name);
    }

    [Fact]
    public void Parts_of_another_length_missing_or_unknown_are_refused()
    {
        TensorEncoding encoding = EncodedSamples.Encodings(64, 5)["int4-zeros"], symmetric = EncodedSamples.Encodings(64, 5)["int4"];
        string Refusal(TensorEncoding one, EncodedData data) => Assert.Throws<ArgumentException>(() => new EncodedTensor(one, data)).Message;
        Assert.Contains("weight.scales has 3 bytes; F16 [1 x 5] takes 10", Refusal(encoding, EncodedSamples.Data(encoding, 2).Set(EncodedPart.Scales, new byte[3])), StringComparison.Ordinal);
        Assert.Contains("has no codes; I8 [32 x 5] is needed", Refusal(encoding, new EncodedData()), StringComparison.Ordinal);
        Assert.Contains("has zeros, which its encoding", Refusal(symmetric, EncodedSamples.Data(symmetric, 2).Set(EncodedPart.Zeros, new byte[10])), StringComparison.Ordinal);
    }

    [Fact]
    public void Fp8_codes_are_those_of_E4M3()
    {
        Assert.Equal(448f, Float8Encoding.Values[0x7E]);
        Assert.Equal(-448f, Float8Encoding.Values[0xFE]);
        Assert.Equal(1f, Float8Encoding.Values[0x38]);
        Assert.Equal(MathF.Pow(2, -9), Float8Encoding.Values[1]);
        Assert.Equal(MathF.Pow(2, -6), Float8Encoding.Values[8]);
        Assert.True(float.IsNaN(Float8Encoding.Values[0x7F]) && float.IsNaN(Float8Encoding.Values[0xFF]));
    }
}
