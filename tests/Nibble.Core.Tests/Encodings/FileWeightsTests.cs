using System.Text;
using Nibble.Core.Compute;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Testing;
using Xunit;

namespace Nibble.Core.Tests.Encodings;

public sealed class FileWeightsTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Encoded_tensors_stand_in_the_place_of_their_parts()
    {
        TensorEncoding first = EncodedSamples.Encodings(128, 6)["int4-zeros"] with { Name = "b.weight" }, second = EncodedSamples.Encodings(64, 5)["nf4-double"] with { Name = "a.weight" };
        GgufWriter writer = new();
        writer.AddTensor("first.weight", BlockFormats.F32, [4, 3], new byte[48]);
        EncodedTensors.Add(writer, first, EncodedSamples.Data(first, 1));
        writer.AddTensor("middle.weight.scales", BlockFormats.F32, [7], new byte[28]);
        EncodedTensors.Add(writer, second, EncodedSamples.Data(second, 2));
        using GgufFile file = Open(writer);

        Assert.Equal(["first.weight", "b.weight", "middle.weight.scales", "a.weight"], file.Weights.All.Select(weight => weight.Name));
        Assert.Equal(["b.weight", "a.weight"], file.Weights.Encoded.Select(weight => weight.Name));
        Assert.Same(file.Find("first.weight"), file.Weights.Find("first.weight"));
        Assert.Null(file.Weights.Find("b.weight.codes"));
        Assert.Equal(file.Tensors.Sum(tensor => tensor.ByteLength), file.Weights.All.Sum(weight => weight.ByteLength));

        IWeightSource encoded = file.Weights.Find("b.weight")!;
        Assert.False(encoded.IsStored);
        Assert.Equal([128L, 6L], encoded.Dimensions);
        Assert.Equal(6, encoded.RowCount);
        Assert.Equal(file.Find("b.weight.codes")!.FileOffset, FileWeights.FileOffset(encoded));
        float[] row = new float[128], same = new float[128];
        encoded.CopyRow(5, row);
        ((EncodedTensor)encoded).DecodeRow(5, same);
        Assert.Equal(same, row);
        Assert.Throws<ArgumentOutOfRangeException>(() => encoded.CopyRow(6, row));
        Assert.Contains("int4 g64 zeros", Assert.Throws<NotSupportedException>(() => encoded.Row(0).Length).Message, StringComparison.Ordinal);
        using MemoryStream all = new(), parts = new();
        encoded.CopyTo(all);
        parts.Write(Encoding.UTF8.GetBytes(first.ToText()));
        foreach (GgufTensor part in file.Tensors.Where(tensor => tensor.Name.StartsWith("b.weight.", StringComparison.Ordinal))) part.CopyTo(parts);
        Assert.Equal(parts.ToArray(), all.ToArray());
    }

    [Fact]
    public void A_file_without_encodings_has_its_tensors()
    {
        GgufWriter writer = new();
        writer.AddTensor("x.weight.codes", BlockFormats.I8, [4], new byte[4]);
        writer.AddTensor("y.weight", BlockFormats.F16, [4, 2, 3], new byte[48]);
        using GgufFile file = Open(writer);
        Assert.Equal(file.Tensors, file.Weights.All);
        Assert.Empty(file.Weights.Encoded);
        IWeightSource plain = file.Weights.Find("y.weight")!;
        Assert.True(plain.IsStored);
        Assert.Equal(48, plain.ByteLength);
        Assert.Equal([4L, 2L, 3L], plain.Dimensions);
    }

    [Fact]
    public void A_format_of_an_encoding_is_a_name_and_decodes_nothing()
    {
        Dictionary<string, TensorEncoding> encodings = EncodedSamples.Encodings(128, 2), others = EncodedSamples.Encodings(192, 7);
        Assert.Equal("int4_g64_zeros", EncodedFormat.Of(encodings["int4-zeros"]).Name);
        Assert.Equal("nf4_b64_double", EncodedFormat.Of(encodings["nf4-double"]).Name);
        foreach ((string name, TensorEncoding encoding) in encodings)
        {
            EncodedFormat format = EncodedFormat.Of(encoding);
            Assert.Same(format, EncodedFormat.Of(others[name]));
            Assert.DoesNotContain(' ', format.Name);
            Assert.Equal(encoding.Parts()[0].ByteLength / 2, format.RowBytes(128));
            Assert.Equal(encoding.BitsPerCode, format.BitsPerWeight);
            Assert.Contains(nameof(IWeightSource.CopyRow), Assert.Throws<NotSupportedException>(() => format.Decode(new byte[8], new float[16])).Message, StringComparison.Ordinal);
            Assert.Throws<NotSupportedException>(() => format.Encode(new float[16], new byte[8]));
            Assert.Null(BlockFormats.Find(format.Name));
        }
    }

    private GgufFile Open(GgufWriter writer)
    {
        string path = _folder.File("weights.gguf");
        writer.Write(path);
        return GgufFile.Open(path);
    }
}
