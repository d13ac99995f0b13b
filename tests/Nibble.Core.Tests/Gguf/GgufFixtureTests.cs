using Nibble.Core.Gguf;
using Nibble.Core.Memory;

namespace Nibble.Core.Tests.Gguf;

/// <summary>Real files, written by llama.cpp, its converters and gguf-py: those of the clone, and those of ../shared where it is there.</summary>
public class GgufFixtureTests
{
    public static TheoryData<string> CloneFiles() => Files(Fixtures.Root, "models", Path.Combine("tests", "golden"));

    public static TheoryData<string> SharedFiles()
    {
        TheoryData<string> files = Files(Fixtures.SharedRoot, "fixtures", "models");
        if (files.Count == 0) files.Add("fixtures"); // one visible skip
        return files;
    }

    [Theory]
    [MemberData(nameof(CloneFiles))]
    public void File_of_the_clone_opens_and_writing_it_gives_back_its_bytes(string file) => OpensAndRoundTrips(Path.Combine(Fixtures.Root, file));

    [Theory]
    [MemberData(nameof(SharedFiles))]
    public void File_of_shared_opens_and_writing_it_gives_back_its_bytes(string file) => OpensAndRoundTrips(Fixtures.Shared(file.Split(Path.DirectorySeparatorChar)));

    [Fact]
    public void Default_model_has_the_metadata_and_tensors_that_its_makers_gave_it()
    {
        using GgufFile file = GgufFile.Open(Path.Combine(Fixtures.Root, "models", "SmolLM2-135M-Instruct.Q4_1.gguf"));
        GgufMetadata metadata = file.Metadata;
        Assert.Equal("llama", metadata.GetString("general.architecture"));
        Assert.Equal(30u, metadata.GetUInt32("llama.block_count"));
        Assert.Equal(576, metadata.GetInt32("llama.embedding_length"));
        Assert.Equal(100000f, metadata.GetFloat32("llama.rope.freq_base"));
        Assert.False(metadata.GetBoolean("tokenizer.ggml.add_bos_token", false));
        GgufStringArray tokens = metadata.GetStrings("tokenizer.ggml.tokens");
        Assert.Equal(49152, tokens.Count);
        Assert.Equal("<|im_start|>", tokens[1]);
        Assert.Equal("<|im_end|>"u8, tokens.Utf8(2));
        Assert.Equal(49152, metadata.GetInt32Array("tokenizer.ggml.token_type").Length);
        Assert.Equal(272, file.Tensors.Count);
        GgufTensor embedding = file.Find("token_embd.weight")!;
        Assert.Equal((576, 49152, 1, "Q8_0"), (embedding.Columns, embedding.Rows, embedding.Matrices, embedding.Format.Name));
        float[] row = new float[576];
        embedding.Format.Decode(embedding.Row(49151), row);
        Assert.All(row, value => Assert.True(float.IsFinite(value)));
        Assert.Contains(row, value => value != 0);
    }

    [Fact]
    public void Opening_the_default_model_allocates_less_than_the_bound()
    {
        string path = Path.Combine(Fixtures.Root, "models", "SmolLM2-135M-Instruct.Q4_1.gguf");
        long before = GC.GetAllocatedBytesForCurrentThread();
        using GgufFile file = GgufFile.Open(path);
        GgufStringArray tokens = file.Metadata.GetStrings("tokenizer.ggml.tokens");
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.Equal(49152, tokens.Count);
        Assert.InRange(allocated, 1, 1 << 20);
    }

    private static void OpensAndRoundTrips(string path)
    {
        using GgufFile file = GgufFile.Open(path);
        Assert.Equal(3u, file.Version);
        Assert.Equal(32u, file.Alignment);
        Assert.NotEmpty(file.Metadata);
        foreach (GgufTensor tensor in file.Tensors)
        {
            Assert.Same(tensor, file.Find(tensor.Name));
            Assert.Equal(tensor.Format.RowBytes(tensor.Columns), tensor.Row(0).Length);
            Assert.Equal(tensor.ByteLength, tensor.RowCount * tensor.Row(tensor.RowCount - 1).Length);
        }

        using MappedFile expected = MappedFile.Open(path);
        using ComparingStream stream = new(expected);
        GgufWriter.From(file).Write(stream);
        Assert.Null(stream.FirstDifference);
        Assert.Equal(expected.Length, stream.Length);
    }

    private static TheoryData<string> Files(string root, params ReadOnlySpan<string> folders)
    {
        TheoryData<string> files = [];
        foreach (string folder in folders)
        {
            string path = Path.Combine(root, folder);
            if (!Directory.Exists(path)) continue;
            foreach (string file in Directory.EnumerateFiles(path, "*.gguf", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
                files.Add(Path.GetRelativePath(root, file));
        }

        return files;
    }
}
