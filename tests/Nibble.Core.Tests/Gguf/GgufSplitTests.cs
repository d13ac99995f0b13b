using Nibble.Core.Formats;
using Nibble.Core.Gguf;

namespace Nibble.Core.Tests.Gguf;

/// <summary>Models in several files, as gguf-split of llama.cpp names them and marks them.</summary>
public class GgufSplitTests : GgufTestBase
{
    private string First => Folder.File("m-00001-of-00003.gguf");

    [Fact]
    public void Split_model_reads_as_the_whole_one()
    {
        WriteWhole();
        WriteParts();
        using GgufFile whole = GgufFile.Open(Folder.File("m.gguf"));
        using GgufFile split = GgufFile.Open(First);
        Assert.Equal(3, split.PartPaths.Count);
        Assert.Equal(split.PartPaths.Sum(path => new FileInfo(path).Length), split.FileBytes);
        Assert.Equal("llama", split.Metadata.GetString("general.architecture"));
        Assert.Equal(whole.Tensors.Select(tensor => tensor.ToString()), split.Tensors.Select(tensor => tensor.ToString()));
        foreach (GgufTensor tensor in whole.Tensors)
            for (long row = 0; row < tensor.RowCount; row++) Assert.Equal(tensor.Row(row), split.Find(tensor.Name)!.Row(row));
    }

    [Fact]
    public void Writing_a_split_model_joins_it_into_the_whole_file()
    {
        WriteWhole();
        WriteParts();
        using GgufFile split = GgufFile.Open(First);
        Assert.Equal(File.ReadAllBytes(Folder.File("m.gguf")), Rewritten(split));
    }

    [Fact]
    public void Parts_may_have_other_versions_and_alignments()
    {
        WriteWhole();
        WriteParts();
        WritePart(2, writer => writer.Set("general.alignment", 4096u), version: 2);
        using GgufFile split = GgufFile.Open(First);
        Assert.Equal(TensorData(4), split.Find("t4")!.Row(0));
        Assert.Equal(File.ReadAllBytes(Folder.File("m.gguf")), Rewritten(split));
    }

    [Fact]
    public void Missing_part_is_named()
    {
        WriteParts();
        File.Delete(Folder.File("m-00002-of-00003.gguf"));
        Assert.Contains("'m-00002-of-00003.gguf'", Assert.Throws<FileNotFoundException>(() => GgufFile.Open(First)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Later_part_refers_to_the_first()
    {
        WriteParts();
        GgufException exception = Assert.Throws<GgufException>(() => GgufFile.Open(Folder.File("m-00002-of-00003.gguf")));
        Assert.Contains("part 2 of 3; open the first part, whose name ends in -00001-of-00003.gguf", exception.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Renamed_first_part_says_which_name_it_needs()
    {
        WriteParts();
        File.Move(First, Folder.File("renamed.gguf"));
        Assert.Contains("-00001-of-00003.gguf", Assert.Throws<GgufException>(() => GgufFile.Open(Folder.File("renamed.gguf"))).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Swapped_parts_are_refused()
    {
        WriteParts();
        File.Copy(Folder.File("m-00003-of-00003.gguf"), Folder.File("m-00002-of-00003.gguf"), overwrite: true);
        GgufException exception = Assert.Throws<GgufException>(() => GgufFile.Open(First));
        Assert.Equal("m-00002-of-00003.gguf", exception.FileName);
        Assert.Contains("'split.no': it is 2; 1 is expected", exception.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Part_of_another_split_is_refused()
    {
        WriteParts();
        WritePart(1, writer => writer.Set("split.count", (ushort)4));
        Assert.Contains("'split.count': it is 4; the first part says 3", Assert.Throws<GgufException>(() => GgufFile.Open(First)).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Wrong_tensor_total_is_refused()
    {
        WriteParts();
        WritePart(0, writer => writer.Set("split.tensors.count", 7));
        Assert.Contains("it is 7; the 3 parts hold 6 tensors", Assert.Throws<GgufException>(() => GgufFile.Open(First)).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Tensor_in_two_parts_is_refused()
    {
        WriteParts();
        WritePart(2, _ => { }, firstTensor: 1);
        GgufException exception = Assert.Throws<GgufException>(() => GgufFile.Open(First));
        Assert.Equal("m-00003-of-00003.gguf", exception.FileName);
        Assert.Contains("tensor 't1' is in an earlier part", exception.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Too_many_parts_are_refused()
    {
        WriteParts();
        WritePart(0, writer => writer.Set("split.count", 65536u));
        Assert.Contains("it is 65536; at most 65535", Assert.Throws<GgufException>(() => GgufFile.Open(First)).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Damaged_part_is_refused_by_its_own_name_and_no_file_stays_open()
    {
        WriteParts();
        byte[] bytes = File.ReadAllBytes(Folder.File("m-00003-of-00003.gguf"));
        Folder.Write("m-00003-of-00003.gguf", bytes.AsSpan(0, bytes.Length - 64));
        Assert.Equal("m-00003-of-00003.gguf", Assert.Throws<GgufException>(() => GgufFile.Open(First)).FileName);
        using FileStream exclusive = new(First, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
    }

    [Fact]
    public void Split_count_of_one_is_a_whole_model()
    {
        using GgufFile file = Reopen(new GgufWriter().Set("split.count", (ushort)1).Set("split.no", (ushort)0));
        Assert.Single(file.PartPaths);
        Assert.Equal(2, file.Metadata.Count);
    }

    private static byte[] TensorData(int index) => [.. Sequence(64 + 32 * index).Select(value => (byte)(value + index))];

    private static void AddTensors(GgufWriter writer, int first, int count)
    {
        for (int i = first; i < first + count; i++) writer.AddTensor($"t{i}", BlockFormats.F32, [16 + 8 * i, 1], TensorData(i));
    }

    private void WriteWhole()
    {
        GgufWriter whole = new GgufWriter().Set("general.architecture", "llama").Set("x", GgufValue.Array([1, 2]));
        AddTensors(whole, 0, 6);
        whole.Write(Folder.File("m.gguf"));
    }

    private void WriteParts()
    {
        for (int part = 0; part < 3; part++) WritePart(part, _ => { });
    }

    private void WritePart(int part, Action<GgufWriter> change, uint version = 3, int? firstTensor = null)
    {
        GgufWriter writer = new(version);
        if (part == 0) writer.Set("general.architecture", "llama").Set("x", GgufValue.Array([1, 2]));
        writer.Set("split.no", (ushort)part).Set("split.count", (ushort)3).Set("split.tensors.count", 6);
        change(writer);
        AddTensors(writer, firstTensor ?? part * 2, 2);
        writer.Write(Folder.File($"m-0000{part + 1}-of-00003.gguf"));
    }
}
