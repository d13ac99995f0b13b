using Nibble.Core.Gguf;

namespace Nibble.Core.Tests.Gguf;

/// <summary>Real files: written by llama.cpp and its converters.</summary>
public class GgufFixtureTests
{
    public static TheoryData<string> SharedFiles()
    {
        TheoryData<string> files = [];
        foreach (string folder in new[] { "fixtures", "models" })
        {
            string path = Path.Combine(Fixtures.SharedRoot, folder);
            if (!Directory.Exists(path)) continue;
            foreach (string file in Directory.EnumerateFiles(path, "*.gguf", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
                files.Add(Path.GetRelativePath(Fixtures.SharedRoot, file));
        }

        if (files.Count == 0) files.Add("fixtures");
        return files;
    }

    [Theory]
    [MemberData(nameof(SharedFiles))]
    public void Shared_file_opens_and_every_row_can_be_read(string file)
    {
        using GgufFile gguf = GgufFile.Open(Fixtures.Shared(file.Split(Path.DirectorySeparatorChar)));
        Assert.Equal(3u, gguf.Version);
        Assert.NotEmpty(gguf.Metadata);
        foreach (GgufTensor tensor in gguf.Tensors)
        {
            Assert.Same(tensor, gguf.Find(tensor.Name));
            Assert.Equal(tensor.Format.RowBytes(tensor.Columns), tensor.Row(0).Length);
            Assert.Equal(tensor.ByteLength, tensor.RowCount * tensor.Row(tensor.RowCount - 1).Length);
        }
    }
}
