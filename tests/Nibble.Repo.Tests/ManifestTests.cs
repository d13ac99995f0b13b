using System.Security.Cryptography;
using System.Text.Json;

namespace Nibble.Repo.Tests;

/// <summary>models/manifest.json tells the truth about the files beside it.</summary>
public class ManifestTests
{
    private static readonly string Folder = Path.Combine(Fixtures.Root, "models");

    private static JsonElement Manifest() => JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Folder, "manifest.json"))).RootElement;

    private static JsonElement[] Models() => [.. Manifest().GetProperty("models").EnumerateArray()];

    private static string Text(JsonElement model, string name) => model.GetProperty(name).GetString()!;

    [Fact]
    public void The_default_model_is_one_of_the_models() =>
        Assert.Single(Models(), model => Text(model, "name") == Manifest().GetProperty("default").GetString());

    [Fact]
    public void Every_model_file_is_there_with_the_size_and_hash_of_the_manifest()
    {
        foreach (JsonElement model in Models())
        {
            using FileStream file = File.OpenRead(Path.Combine(Folder, Text(model, "file")));
            Assert.Equal(model.GetProperty("bytes").GetInt64(), file.Length);
            Assert.Equal(Text(model, "sha256"), Convert.ToHexStringLower(SHA256.HashData(file)));
        }
    }

    [Fact]
    public void Every_model_names_its_source_and_has_the_text_of_its_licence_beside_it()
    {
        foreach (JsonElement model in Models())
        {
            Assert.NotEmpty(Text(model, "source"));
            string licence = File.ReadAllText(Path.Combine(Folder, Text(model, "licenceFile")));
            string words = Text(model, "licence") switch
            {
                "Apache-2.0" => "Apache License",
                "MIT" => "Permission is hereby granted, free of charge",
                string other => throw new Xunit.Sdk.XunitException($"the test does not know how to recognise the licence {other}"),
            };
            Assert.Contains(words, licence, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Models_hold_nothing_that_the_manifest_does_not_name()
    {
        string[] known = [.. Models().SelectMany(model => new[] { Text(model, "file"), Text(model, "licenceFile") }), "manifest.json"];
        Check.None(Repository.Files.Where(file => file.StartsWith("models/", StringComparison.Ordinal)).Select(file => file["models/".Length..]).Except(known));
    }
}
