using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Core.Memory;

namespace Nibble.Core.Tests.Gguf;

public class GgufWriterTests : GgufTestBase
{
    [Theory]
    [InlineData(2u)]
    [InlineData(3u)]
    public void Writer_makes_the_bytes_that_the_layout_says(uint version)
    {
        GgufBuilder expected = new GgufBuilder { Version = version, Alignment = 64 }
            .Text("general.architecture", "llama"u8).UInt32("general.alignment", 64).Float32("f", 2.5f).UInt16("h", 9)
            .Array("numbers", 5, 2, [1, 0, 0, 0, 255, 255, 255, 255]).Texts("texts", ["a"u8.ToArray(), []])
            .Tensor("first", [5, 2]).Tensor("second", [32, 1, 2], type: 8, offset: 64);
        expected.Data = [.. Sequence(40), .. new byte[24], .. Sequence(68), .. new byte[60]];

        GgufWriter writer = new GgufWriter(version)
            .Set("general.architecture", "llama").Set("general.alignment", 64u).Set("f", 2.5f).Set("h", (ushort)9)
            .Set("numbers", GgufValue.Array([1, -1])).Set("texts", GgufValue.Array(["a", ""]))
            .AddTensor("first", BlockFormats.F32, [5, 2], Sequence(40))
            .AddTensor("second", BlockFormats.Q8_0, [32, 1, 2], stream => stream.Write(Sequence(68)));
        Assert.Equal(64u, writer.Alignment);
        Assert.Equal(expected.Build(), Written(writer));
        Assert.Equal(expected.Build().Length, writer.FileBytes);

        writer.PadEnd = false;
        expected.Data = expected.Data[..^60];
        Assert.Equal(expected.Build(), Written(writer));
        Assert.Equal(expected.Build().Length, writer.FileBytes);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Tensors_can_be_asked_for_in_another_order_than_they_stand_in(bool padEnd)
    {
        List<string> asked = [];
        GgufWriter straight = Writer(0, 0, 0), turned = Writer(2, 0, 1);
        byte[] expected = Written(straight);
        Assert.Equal(["a", "b", "c"], asked);
        asked.Clear();

        // Over what lies there already, from the stream's own position on.
        using MemoryStream stream = new();
        stream.Write(Enumerable.Repeat((byte)0xAA, expected.Length + 100).ToArray());
        stream.Position = 7;
        turned.Write(stream);
        Assert.Equal(["b", "c", "a"], asked);
        Assert.Equal(7 + expected.Length, stream.Position);
        Assert.Equal(expected, stream.ToArray()[7..(7 + expected.Length)]);
        Assert.All(stream.ToArray()[(7 + expected.Length)..], value => Assert.Equal(0xAA, value));
        using System.IO.Compression.DeflateStream pipe = new(Stream.Null, System.IO.Compression.CompressionLevel.Fastest);
        Assert.Contains("cannot seek", Assert.Throws<ArgumentException>(() => turned.Write(pipe)).Message, StringComparison.Ordinal);

        GgufWriter Writer(params int[] turns)
        {
            GgufWriter writer = new GgufWriter { PadEnd = padEnd }.Set("general.name", "n");
            foreach ((string name, int length, int turn) in new[] { ("a", 20, turns[0]), ("b", 160, turns[1]), ("c", 12, turns[2]) })
            {
                writer.AddTensor(name, BlockFormats.F32, [length / 4], target =>
                {
                    asked.Add(name);
                    target.Write(Sequence(length));
                }, turn);
            }

            return writer;
        }
    }

    [Fact]
    public void Versions_2_and_3_and_all_alignments_read_the_same()
    {
        List<string> readings = [];
        foreach (uint version in new[] { 2u, 3u })
            foreach (uint alignment in new[] { 1u, 8u, 32u, 4096u, 1u << 20 })
            {
                GgufWriter writer = new GgufWriter(version).Set("general.alignment", alignment).Set("general.name", "n");
                foreach (BlockFormat format in BlockFormats.All)
                    writer.AddTensor(format.Name, format, [format.BlockValues * 2L, 3], Sequence(format.BlockBytes * 6));
                using GgufFile file = Reopen(writer);
                Assert.Equal((version, alignment), (file.Version, file.Alignment));
                Assert.All(file.Tensors, tensor => Assert.Equal(0, tensor.FileOffset % alignment));
                readings.Add(string.Join('\n', file.Tensors.Select(tensor => $"{tensor} {Convert.ToHexString(tensor.Row(0))} {Convert.ToHexString(tensor.Row(2))}")));
            }

        Assert.Equal(10, readings.Count);
        Assert.Single(readings.Distinct());
        Assert.Equal(BlockFormats.All.Length, readings[0].Count(c => c == '\n') + 1);
    }

    [Fact]
    public void Entry_that_is_set_again_keeps_its_place_and_one_that_is_removed_closes_the_gap()
    {
        GgufWriter writer = new GgufWriter().Set("a", 1).Set("b", 2).Set("general.alignment", 8u).Set("c", 3).Set("b", "two");
        Assert.True(writer.Remove("a"));
        Assert.True(writer.Remove("general.alignment"));
        Assert.False(writer.Remove("a"));
        writer.Set("c", 4).Set("d", 5);
        Assert.Equal(GgufLimits.DefaultAlignment, writer.Alignment);
        using GgufFile file = Reopen(writer);
        Assert.Equal("b=two c=4 d=5", string.Join(' ', file.Metadata.Select(entry => $"{entry.Key}={entry.Value}")));
    }

    [Fact]
    public void Open_file_can_be_replaced_by_its_changed_self()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows does not replace a mapped file");
        Reopen(new GgufWriter().Set("a", 1).AddTensor("t", BlockFormats.F32, [8], Sequence(32))).Dispose();
        using GgufFile file = GgufFile.Open(Folder.File(FileName));
        GgufWriter.From(file).Set("a", 2).Write(Folder.File(FileName));
        using GgufFile changed = GgufFile.Open(Folder.File(FileName));
        Assert.Equal(1, file.Metadata.GetInt32("a"));
        Assert.Equal(2, changed.Metadata.GetInt32("a"));
        Assert.Equal(Sequence(32), file.Tensors[0].Row(0));
        Assert.Equal(Sequence(32), changed.Tensors[0].Row(0));
    }

    [Theory]
    [InlineData(31)]
    [InlineData(33)]
    public void Data_of_another_length_is_refused_and_leaves_no_file(int bytes)
    {
        GgufWriter writer = new GgufWriter().AddTensor("t", BlockFormats.F32, [8], stream => stream.Write(Sequence(bytes)));
        Assert.Contains("'t'", Assert.Throws<InvalidOperationException>(() => writer.Write(Folder.File(FileName))).Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(Folder.Root));
        Assert.Contains($"has {bytes} bytes", Assert.Throws<ArgumentException>(() => new GgufWriter().AddTensor("t", BlockFormats.F32, [8], Sequence(bytes))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Tensor_that_was_refused_can_be_added_rightly()
    {
        GgufWriter writer = new();
        Assert.Throws<ArgumentException>(() => writer.AddTensor("t", BlockFormats.F32, [8], Sequence(31)));
        using GgufFile file = Reopen(writer.AddTensor("t", BlockFormats.F32, [8], Sequence(32)));
        Assert.Single(file.Tensors);
    }

    [Fact]
    public void What_no_reader_takes_is_not_written()
    {
        GgufWriter writer = new GgufWriter().AddTensor("taken", BlockFormats.F32, [1], Sequence(4));
        Action<Stream> none = _ => { };
        Assert.Throws<ArgumentOutOfRangeException>(() => new GgufWriter(1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new GgufWriter(4));
        Assert.Throws<ArgumentException>(() => writer.Set("", 1));
        Assert.Throws<ArgumentException>(() => writer.Set(new string('k', 65537), 1));
        Assert.Throws<ArgumentException>(() => writer.Set("k\uD800", 1));
        Assert.ThrowsAny<ArgumentException>(() => writer.Set("k", "\uDC00"));
        Assert.Throws<ArgumentException>(() => writer.Set("k", default));
        Assert.Throws<ArgumentException>(() => writer.Set("general.alignment", 32));
        Assert.Throws<ArgumentException>(() => writer.Set("general.alignment", 48u));
        Assert.Throws<ArgumentException>(() => writer.Set("general.alignment", 1u << 21));
        Assert.Throws<ArgumentException>(() => writer.AddTensor("taken", BlockFormats.F32, [1], none));
        Assert.Throws<ArgumentException>(() => writer.AddTensor(new string('n', 64), BlockFormats.F32, [1], none));
        Assert.Throws<ArgumentException>(() => writer.AddTensor(new string('ü', 32), BlockFormats.F32, [1], none));
        Assert.Throws<ArgumentException>(() => writer.AddTensor("t", BlockFormats.F32, [], none));
        Assert.Throws<ArgumentException>(() => writer.AddTensor("t", BlockFormats.F32, [1, 1, 1, 1, 1], none));
        Assert.Throws<ArgumentException>(() => writer.AddTensor("t", BlockFormats.F32, [-1], none));
        Assert.Throws<ArgumentException>(() => writer.AddTensor("t", BlockFormats.F32, [long.MaxValue, 2], none));
        Assert.Throws<ArgumentException>(() => writer.AddTensor("t", BlockFormats.F32, [1, 1, 1 << 20, 1 << 20], none));
        Assert.Throws<ArgumentException>(() => writer.AddTensor("t", BlockFormats.F32, [int.MaxValue / 8, int.MaxValue, int.MaxValue], none));
        Assert.Throws<ArgumentException>(() => writer.AddTensor("t", BlockFormats.Q8_0, [33], none));
        Assert.Throws<ArgumentException>(() => GgufValue.Utf8(new byte[GgufLimits.MaxStringBytes + 1]));
        using GgufFile file = Reopen(writer);
        Assert.Equal((0, 1), (file.Metadata.Count, file.Tensors.Count));
    }

    [Fact]
    public void File_beyond_4_GiB_is_read_in_place()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "needs a file system that stores holes");
        const long Half = 2560L << 20; // 2560 rows of 1 MiB
        string path = Folder.Write(FileName, new GgufBuilder().Tensor("a", [1 << 18, 2560]).Tensor("b", [1 << 18, 2560], offset: (ulong)Half).Build());
        using (FileStream stream = new(path, FileMode.Open))
        {
            stream.SetLength(stream.Length + 2 * Half);
            stream.Position = stream.Length - 4;
            stream.Write([1, 2, 3, 4]);
        }

        using GgufFile file = GgufFile.Open(path);
        Assert.Equal(Half, file.Tensors[1].FileOffset - file.Tensors[0].FileOffset);
        Assert.Equal(new byte[] { 1, 2, 3, 4 }, file.Tensors[1].Row(2559)[^4..]);
        Assert.Equal(0, file.Tensors[1].Row(0)[0]);
    }

    [Fact]
    public void Tensor_above_2_GiB_streams_through_the_writer()
    {
        byte[] row = Sequence(1 << 20);
        GgufWriter writer = new GgufWriter { PadEnd = false }
            .AddTensor("large", BlockFormats.F32, [1 << 18, 2560], stream =>
            {
                for (int i = 0; i < 2560; i++) stream.Write(row);
            })
            .AddTensor("small", BlockFormats.F32, [1], Sequence(4));
        TailStream tail = new();
        long before = GC.GetAllocatedBytesForCurrentThread();
        writer.Write(tail);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
        Assert.Equal(Sequence(4), tail.Last);
        Assert.Equal((2560L << 20) + 128, tail.Length - 4);
        tail.Dispose();
    }

    [Fact]
    public void Disposed_file_refuses_every_access()
    {
        GgufFile file = Reopen(new GgufWriter().Set("a", 1).Set("texts", GgufValue.Array(["x"])).AddTensor("t", BlockFormats.F32, [8], Sequence(32)));
        GgufStringArray texts = file.Metadata.GetStrings("texts");
        GgufTensor tensor = file.Tensors[0];
        Assert.Throws<ArgumentOutOfRangeException>(() => tensor.Row(1).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => tensor.Row(-1).Length);
        file.Dispose();
        file.Dispose();
        Assert.Throws<ObjectDisposedException>(() => tensor.Row(0).Length);
        Assert.Throws<ObjectDisposedException>(() => texts[0]);
        Assert.Throws<ObjectDisposedException>(() => file.Metadata.GetInt32("a"));
        Assert.Throws<ObjectDisposedException>(() => tensor.CopyTo(Stream.Null));
    }

    [Fact]
    public void Mapped_file_gives_no_byte_outside_itself()
    {
        using MappedFile file = MappedFile.Open(Folder.Write("bytes", Sequence(10)));
        Assert.Equal(Sequence(10), file.Span(0, 10));
        Assert.Equal(0, file.Span(10, 0).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Span(0, 11).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Span(11, 0).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Span(-1, 1).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Span(1, -1).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Span(long.MaxValue, int.MaxValue).Length);
        using MappedFile empty = MappedFile.Open(Folder.Write("empty", []));
        Assert.Equal(0, empty.Length);
        Assert.Equal(0, empty.Span(0, 0).Length);
    }

    [Fact]
    public void Mapped_file_reads_no_byte_outside_itself_and_tells_when_it_was_cut()
    {
        string path = Folder.Write("bytes", Sequence(10));
        using MappedFile file = MappedFile.Open(path);
        byte[] read = new byte[4];
        file.Read(6, read);
        Assert.Equal(Sequence(10)[6..], read);
        file.Read(10, []);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Read(7, read));
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Read(-1, read));
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Read(long.MaxValue, read));
        if (OperatingSystem.IsWindows()) return;
        using (FileStream cut = new(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite)) cut.SetLength(8);
        IOException error = Assert.Throws<IOException>(() => file.Read(6, read));
        Assert.Contains("ends at byte 8; it had 10 bytes", error.Message, StringComparison.Ordinal);
    }

    /// <summary>Counts what is written and keeps the last four bytes.</summary>
    private sealed class TailStream : Stream
    {
        private long _length;

        public byte[] Last { get; } = new byte[4];

        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => _length;

        public override long Position { get => _length; set => throw new NotSupportedException(); }

        public override void Write(ReadOnlySpan<byte> buffer)
        {
            _length += buffer.Length;
            if (buffer.Length >= 4) buffer[^4..].CopyTo(Last);
        }

        public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

        public override void Flush()
        {
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();
    }
}
