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
        void Refused(Action<GgufWriter> change, string message)
        {
            GgufWriter writer = new();
            EncodedTensors.Add(writer, encoding, EncodedSamples.Data(encoding, 4));
            change(writer);
            string path = _folder.File("bad.gguf");
            writer.Write(path);
            using GgufFile file = GgufFile.Open(path);
            GgufException e = Assert.Throws<GgufException>(() => EncodedTensors.Read(file));
            Assert.Contains(message, e.Message, StringComparison.Ordinal);
            Assert.StartsWith("bad.gguf, offset", e.Message, StringComparison.Ordinal);
        }
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
