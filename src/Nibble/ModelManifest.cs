using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Nibble;

/// <summary>A model that a manifest names.</summary>
public sealed record ManifestModel
{
    /// <summary>The name it is asked for by.</summary>
    public required string Name { get; init; }

    /// <summary>The file beside the manifest; of a split model, its first.</summary>
    public required string File { get; init; }

    /// <summary>What it is, for people.</summary>
    public string? Description { get; init; }

    /// <summary>Where it came from.</summary>
    public string? Source { get; init; }

    /// <summary>SPDX identifier of its licence.</summary>
    public string? Licence { get; init; }

    /// <summary>The file with the licence's text, beside the manifest.</summary>
    public string? LicenceFile { get; init; }

    /// <summary>Size of the file in bytes.</summary>
    public required long Bytes { get; init; }

    /// <summary>SHA-256 of the file, 64 hexadecimal digits.</summary>
    public required string Sha256 { get; init; }
}

/// <summary>A list of models in a folder: <c>manifest.json</c>.</summary>
public sealed record ModelManifest
{
    /// <summary>The name of the model that is taken where none is named.</summary>
    public string? Default { get; init; }

    /// <summary>The models.</summary>
    public ImmutableArray<ManifestModel> Models { get; init; } = [];

    /// <summary>Reads a manifest.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ModelNotFoundException">It is not a manifest.</exception>
    public static ModelManifest Read(string path)
    {
        try
        {
            ModelManifest manifest = JsonSerializer.Deserialize(File.ReadAllBytes(path), ManifestJson.Default.ModelManifest)
                ?? throw new ModelNotFoundException($"'{path}' is no manifest: it is null.");
            foreach (ManifestModel model in manifest.Models)
                if (model is not { Name: not null, File: not null, Sha256: not null } || model.File.Length == 0 || model.File != Path.GetFileName(model.File) || model.Sha256.Length != 64 || model.Bytes <= 0)
                    throw new ModelNotFoundException($"'{path}' is no manifest: model '{model?.Name}' needs a file name without folders, a size in bytes and a sha256 of 64 digits.");
            return manifest;
        }
        catch (JsonException error)
        {
            throw new ModelNotFoundException($"'{path}' is no manifest: {error.Message}", error);
        }
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(ModelManifest))]
internal sealed partial class ManifestJson : JsonSerializerContext;
