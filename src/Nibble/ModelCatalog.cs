using System.Collections.Immutable;
using System.Security.Cryptography;

namespace Nibble;

/// <summary>Finds models: by path, or by the name that a <c>manifest.json</c> in one of the model folders gives them.</summary>
/// <remarks>
/// Folders, in this order: those of the environment variable <c>NIBBLE_MODELS</c> (separated as in PATH); <c>models</c> in the current folder; <c>models</c> in the
/// folder of the program and in those above it; <c>nibble/models</c> in the user's local application data.
/// </remarks>
public sealed class ModelCatalog
{
    /// <summary>The environment variable with further folders.</summary>
    public const string FoldersVariable = "NIBBLE_MODELS";

    private const string ManifestName = "manifest.json";

    private List<(string Folder, ModelManifest Manifest)>? _manifests;

    /// <summary>A catalog of the given folders; those without a manifest are only searched for files.</summary>
    /// <param name="folders">Folders, the first wins.</param>
    public ModelCatalog(params ReadOnlySpan<string> folders)
    {
        List<string> known = [];
        foreach (string folder in folders)
        {
            string full = Path.GetFullPath(folder);
            if (!known.Contains(full) && Directory.Exists(full)) known.Add(full);
        }

        Folders = [.. known];
    }

    /// <summary>The folders that exist.</summary>
    public ImmutableArray<string> Folders { get; }

    /// <summary>Every model that a manifest names.</summary>
    /// <exception cref="ModelNotFoundException">A manifest cannot be read.</exception>
    public IEnumerable<ManifestModel> Models => Manifests.SelectMany(entry => entry.Manifest.Models);

    /// <summary>The name of the model that is taken where none is named, or null.</summary>
    /// <exception cref="ModelNotFoundException">A manifest cannot be read.</exception>
    public string? DefaultName => Manifests.Select(entry => entry.Manifest.Default).FirstOrDefault(name => name is not null);

    // Read when a name is looked up: a path must not depend on a manifest that lies in some folder.
    private List<(string Folder, ModelManifest Manifest)> Manifests => _manifests ??=
    [
        .. from folder in Folders
           let path = Path.Combine(folder, ManifestName)
           where File.Exists(path)
           select (folder, ModelManifest.Read(path)),
    ];

    /// <summary>The catalog of the folders that the class names.</summary>
    public static ModelCatalog Open()
    {
        List<string> folders = [.. (Environment.GetEnvironmentVariable(FoldersVariable) ?? string.Empty).Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries)];
        folders.Add("models");
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            if (File.Exists(Path.Combine(folder.FullName, "models", ManifestName))) folders.Add(Path.Combine(folder.FullName, "models"));
        folders.Add(Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData), "nibble", "models"));
        return new ModelCatalog([.. folders]);
    }

    /// <summary>The file of a model. A file that a manifest of these folders, or one beside it, names is checked against its size and hash.</summary>
    /// <param name="model">A path, a name from a manifest, a file name in a model folder, or null for the default model.</param>
    /// <exception cref="ModelNotFoundException">There is no such model, the file differs from the manifest, or a manifest that was looked into cannot be read.</exception>
    public string Resolve(string? model)
    {
        if (model is null)
        {
            model = DefaultName ?? throw new ModelNotFoundException(
                $"no model was named, and no {ManifestName} with a default was found in {Places()}. Name a GGUF file, or set {FoldersVariable} to a folder with one.");
        }
        else if (model.StartsWith("hf:", StringComparison.OrdinalIgnoreCase))
        {
            throw new ModelNotFoundException($"'{model}': downloading from Hugging Face is not in this version. Download the GGUF file yourself and name its path.");
        }
        else if (File.Exists(model))
        {
            string path = Path.GetFullPath(model);
            if (EntryBeside(path) is { } entry) Check(entry, path);
            return path;
        }

        foreach ((string folder, ModelManifest manifest) in Manifests)
        {
            foreach (ManifestModel entry in manifest.Models)
            {
                if (!string.Equals(entry.Name, model, StringComparison.OrdinalIgnoreCase) && entry.File != model) continue;
                string path = Path.Combine(folder, entry.File);
                Check(entry, path);
                return path;
            }
        }

        foreach (string folder in Folders)
        {
            string path = Path.Combine(folder, model);
            if (Path.GetFileName(model) == model && File.Exists(path)) return path;
        }

        if (Directory.Exists(model)) throw new ModelNotFoundException($"'{model}' is a folder; name a GGUF file in it.");
        string names = string.Join(", ", Models.Select(entry => entry.Name));
        throw new ModelNotFoundException($"there is no file '{model}', and no model of that name in {Places()}. "
            + (names.Length == 0 ? "Name a GGUF file." : $"Known names: {names}."));
    }

    /// <summary>The line of the manifest beside a file that names it; null where there is none, or what lies there is no manifest of models.</summary>
    private static ManifestModel? EntryBeside(string path)
    {
        string manifest = Path.Combine(Path.GetDirectoryName(path)!, ManifestName);
        if (!File.Exists(manifest)) return null;
        try
        {
            return ModelManifest.Read(manifest).Models.FirstOrDefault(entry => entry.File == Path.GetFileName(path));
        }
        catch (ModelNotFoundException)
        {
            return null;
        }
    }

    private static void Check(ManifestModel entry, string path)
    {
        if (!File.Exists(path))
            throw new ModelNotFoundException($"model '{entry.Name}' needs the file '{path}', which is not there. It comes from {entry.Source ?? "an unknown source"}.");
        using FileStream file = File.OpenRead(path);
        if (file.Length != entry.Bytes)
            throw new ModelNotFoundException($"'{path}' has {file.Length} bytes; the manifest says {entry.Bytes}. The file is incomplete or another one: fetch it again.");
        string hash = Convert.ToHexStringLower(SHA256.HashData(file));
        if (!string.Equals(hash, entry.Sha256, StringComparison.OrdinalIgnoreCase))
            throw new ModelNotFoundException($"'{path}' has sha256 {hash}; the manifest says {entry.Sha256}. The file is damaged or another one: fetch it again.");
    }

    private string Places() => Folders.IsEmpty ? "the model folders (there are none)" : string.Join(", ", Folders.Select(folder => $"'{folder}'"));
}
