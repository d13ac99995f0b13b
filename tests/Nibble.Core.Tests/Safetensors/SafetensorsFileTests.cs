using System.Buffers.Binary;
using System.Text;
using Nibble.Core.Safetensors;

namespace Nibble.Core.Tests.Safetensors;

/// <summary>Safetensors files: what is read from a good one, and that each kind of damage is refused with the thing, its value and the bound.</summary>
public class SafetensorsFileTests
{
    private const string Good = """{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[],"data_offsets":[16,18]}}""";

    [Fact]
    public void Tensors_have_the_names_types_shapes_and_bytes_of_the_file()
    {
        using TempFolder folder = new();
        byte[] data = [.. Enumerable.Range(0, 18).Select(i => (byte)i)];
        using SafetensorsFile file = SafetensorsFile.Open(folder.Write("x.safetensors", Bytes(Good + "   ", data)));
        Assert.Equal(["a", "b"], file.Tensors.Select(tensor => tensor.Name));
        SafetensorsTensor a = file.Find("a")!, b = file.Find("b")!;
        Assert.Equal("a F32 [2, 2]", a.ToString());
        Assert.Equal(data[..16], a.Bytes().ToArray());
        Assert.Equal(data[4..8], a.Bytes(4, 4).ToArray());
        Assert.Equal("b BF16 []", b.ToString());
        Assert.Equal(1, b.Count);
        Assert.Equal(data[16..], b.Bytes().ToArray());
        Assert.Equal("pt", file.Metadata["format"]);
        Assert.Null(file.Find("c"));
        Assert.Throws<ArgumentOutOfRangeException>(() => b.Bytes(1, 2).Length);
    }

    [Fact]
    public void A_file_of_transformers_is_read()
    {
        using SafetensorsFile file = SafetensorsFile.Open(Fixtures.Shared("fixtures", "checkpoints", "gptq-v1", "model.safetensors"));
        SafetensorsTensor codes = file.Find("model.layers.0.self_attn.q_proj.qweight")!;
        Assert.Equal("I32 [32, 256]", $"{codes.Type.Name()} {codes.ShapeText}");
    }

    [Theory]
    [InlineData("", 0, "has 0 bytes")]
    [InlineData("{}", 1, "all must belong to a tensor")]
    [InlineData("[]", 0, "starts with byte 0x5B")]
    [InlineData(" {}", 0, "starts with byte 0x20")]
    [InlineData("{", 0, "length is 1")]
    [InlineData("{} {}", 0, "no JSON")]
    [InlineData("{\"a\"", 0, "no JSON")]
    [InlineData("""{"a":1}""", 0, "'a' is a Number")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1]}}""", 4, "has no data_offsets")]
    [InlineData("""{"a":{"dtype":"F32","data_offsets":[0,4]}}""", 4, "has no shape")]
    [InlineData("""{"a":{"shape":[1],"data_offsets":[0,4]}}""", 4, "has no dtype")]
    [InlineData("""{"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}}""", 4, "'F31' is not known")]
    [InlineData("""{"a":{"dtype":7,"shape":[1],"data_offsets":[0,4]}}""", 4, "dtype is a Number")]
    [InlineData("""{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4, "dtype twice")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":{"y":{}}}}""", 4, "a field 'x'")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}""", 4, "whole numbers from 0")]
    [InlineData("""{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}""", 4, "whole numbers from 0")]
    [InlineData("""{"a":{"dtype":"F32","shape":"1","data_offsets":[0,4]}}""", 4, "shape is a String")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}""", 4, "more than 8 numbers")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}""", 4, "more than 2 numbers")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[4]}}""", 4, "2 are needed")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}""", 4, "are 0 to 8; the file has data from 0 to 4")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}""", 4, "are 4 to 0")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615]}}""", 4, "whole numbers from 0")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}""", 4, "give 4 bytes; F32 [2] takes 8")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1099511627776,1099511627776,1099511627776],"data_offsets":[0,4]}}""", 4, "give 4 bytes")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8, "'a' is in the header twice")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8, "overlaps the tensor before it")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}""", 12, "leaves a gap")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8, "leaves a gap")]
    [InlineData("""{"__metadata__":{"x":1}}""", 0, "a string is needed")]
    [InlineData("""{"a\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4, "no JSON")]
    public void Damage_is_refused_with_the_reason(string header, int dataBytes, string expected)
    {
        using TempFolder folder = new();
        string path = folder.Write("x.safetensors", header.Length == 0 ? [] : Bytes(header, new byte[dataBytes]));
        SafetensorsException error = Assert.Throws<SafetensorsException>(() => SafetensorsFile.Open(path));
        Assert.StartsWith("x.safetensors: ", error.Message, StringComparison.Ordinal);
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(ulong.MaxValue)]
    [InlineData(1ul << 62)]
    [InlineData(1000ul)]
    [InlineData(3ul)]
    public void A_header_longer_than_the_file_is_refused(ulong length)
    {
        using TempFolder folder = new();
        byte[] bytes = new byte[10];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, length);
        string message = Assert.Throws<SafetensorsException>(() => SafetensorsFile.Open(folder.Write("x.safetensors", bytes))).Message;
        Assert.Contains($"length is {length}; at most 2", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_truncation_of_a_good_file_is_refused()
    {
        using TempFolder folder = new();
        byte[] good = Bytes(Good, new byte[18]);
        for (int length = 0; length < good.Length; length++)
        {
            string path = folder.Write("x.safetensors", good.AsSpan(0, length));
            Assert.Throws<SafetensorsException>(() => SafetensorsFile.Open(path));
        }
    }

    [Fact]
    public void No_changed_byte_of_the_header_gives_anything_but_a_file_or_the_one_exception()
    {
        using TempFolder folder = new();
        Random random = new(963);
        byte[] good = Bytes(Good, new byte[18]);
        int read = 0;
        for (int i = 0; i < 2000; i++)
        {
            byte[] damaged = [.. good];
            for (int change = random.Next(1, 4); change > 0; change--) damaged[random.Next(good.Length - 18)] = (byte)random.Next(256);
            string path = folder.Write("x.safetensors", damaged);
            try
            {
                using SafetensorsFile file = SafetensorsFile.Open(path);
                Assert.Equal(18, file.Tensors.Sum(tensor => (long)tensor.Bytes().Length));
                read++;
            }
            catch (SafetensorsException)
            {
            }
        }

        // Some changes only rename a tensor.
        Assert.InRange(read, 1, 1000);
    }

    private static byte[] Bytes(string header, byte[] data)
    {
        byte[] json = Encoding.UTF8.GetBytes(header);
        byte[] bytes = new byte[8 + json.Length + data.Length];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, (ulong)json.Length);
        json.CopyTo(bytes, 8);
        data.CopyTo(bytes, 8 + json.Length);
        return bytes;
    }
}
