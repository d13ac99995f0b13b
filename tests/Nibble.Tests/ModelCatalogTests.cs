using System.Security.Cryptography;

namespace Nibble.Tests;

public sealed class ModelCatalogTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("nibble-catalog-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void The_default_model_is_found_without_a_name()
    {
        string path = ModelCatalog.Open().Resolve(null);
        Assert.Equal("SmolLM2-135M-Instruct.Q4_1.gguf", Path.GetFileName(path));
        Assert.Equal(98_362_432, new FileInfo(path).Length);
    }

    [Fact]
    public void A_name_is_found_in_any_case_and_a_path_as_it_is()
    {
        WriteModel("tiny", "content");
        ModelCatalog catalog = new(_folder);
        Assert.Equal(Path.Combine(_folder, "tiny.gguf"), catalog.Resolve("TINY"));
        Assert.Equal(Path.Combine(_folder, "tiny.gguf"), catalog.Resolve(Path.Combine(_folder, "tiny.gguf")));
        Assert.Equal(Path.Combine(_folder, "tiny.gguf"), catalog.Resolve(null));
        File.WriteAllText(Path.Combine(_folder, "loose.gguf"), "x");
        Assert.Equal(Path.Combine(_folder, "loose.gguf"), catalog.Resolve("loose.gguf"));
    }

    [Fact]
    public void A_file_of_another_size_is_refused_with_both_sizes()
    {
        WriteModel("tiny", "content");
        File.AppendAllText(Path.Combine(_folder, "tiny.gguf"), "more");
        string message = Assert.Throws<ModelNotFoundException>(() => new ModelCatalog(_folder).Resolve("tiny")).Message;
        Assert.Contains("has 11 bytes", message, StringComparison.Ordinal);
        Assert.Contains("says 7", message, StringComparison.Ordinal);
        // Named by its path or file name, it is the same file.
        Assert.Throws<ModelNotFoundException>(() => new ModelCatalog(_folder).Resolve("tiny.gguf"));
        Assert.Throws<ModelNotFoundException>(() => new ModelCatalog().Resolve(Path.Combine(_folder, "tiny.gguf")));
    }

    [Fact]
    public void A_path_does_not_depend_on_a_file_that_only_looks_like_a_manifest()
    {
        File.WriteAllText(Path.Combine(_folder, "manifest.json"), "{ \"something\": \"else\", \"models\": 3 }");
        File.WriteAllText(Path.Combine(_folder, "loose.gguf"), "x");
        ModelCatalog catalog = new(_folder);
        Assert.Equal(Path.Combine(_folder, "loose.gguf"), catalog.Resolve(Path.Combine(_folder, "loose.gguf")));
        Assert.Contains("is a folder", Assert.Throws<ModelNotFoundException>(() => new ModelCatalog().Resolve(_folder)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_of_another_hash_is_refused_with_both_hashes()
    {
        string expected = WriteModel("tiny", "content");
        File.WriteAllText(Path.Combine(_folder, "tiny.gguf"), "CONTENT");
        string message = Assert.Throws<ModelNotFoundException>(() => new ModelCatalog(_folder).Resolve("tiny")).Message;
        Assert.Contains(expected, message, StringComparison.Ordinal);
        Assert.Contains(Convert.ToHexStringLower(SHA256.HashData("CONTENT"u8)), message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_missing_file_and_an_unknown_name_say_what_is_known()
    {
        WriteModel("tiny", "content");
        File.Delete(Path.Combine(_folder, "tiny.gguf"));
        ModelCatalog catalog = new(_folder);
        Assert.Contains("somewhere", Assert.Throws<ModelNotFoundException>(() => catalog.Resolve("tiny")).Message, StringComparison.Ordinal);
        Assert.Contains("tiny", Assert.Throws<ModelNotFoundException>(() => catalog.Resolve("huge")).Message, StringComparison.Ordinal);
        Assert.Contains("Hugging Face", Assert.Throws<ModelNotFoundException>(() => catalog.Resolve("hf:owner/repo")).Message, StringComparison.Ordinal);
        Assert.Contains(ModelCatalog.FoldersVariable, Assert.Throws<ModelNotFoundException>(() => new ModelCatalog().Resolve(null)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("not json")]
    [InlineData("null")]
    [InlineData("""{"models":[null]}""")]
    [InlineData("""{"models":[{"name":"a","file":null,"bytes":1,"sha256":null}]}""")]
    [InlineData("""{"models":[{"name":"a","file":"../a.gguf","bytes":1,"sha256":"0000000000000000000000000000000000000000000000000000000000000000"}]}""")]
    [InlineData("""{"models":[{"name":"a","file":"a.gguf","bytes":1,"sha256":"00"}]}""")]
    [InlineData("""{"models":[{"name":"a"}]}""")]
    public void A_manifest_that_is_none_is_refused_with_its_path(string json)
    {
        File.WriteAllText(Path.Combine(_folder, "manifest.json"), json);
        Assert.Contains("manifest.json", Assert.Throws<ModelNotFoundException>(() => new ModelCatalog(_folder).Resolve(null)).Message, StringComparison.Ordinal);
    }

    private string WriteModel(string name, string content)
    {
        string path = Path.Combine(_folder, name + ".gguf");
        File.WriteAllText(path, content);
        string hash = Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(path)));
        File.WriteAllText(
            Path.Combine(_folder, "manifest.json"),
            $$"""{"default":"{{name}}","models":[{"name":"{{name}}","file":"{{name}}.gguf","source":"somewhere","bytes":{{content.Length}},"sha256":"{{hash}}"}]}""");
        return hash;
    }
}
