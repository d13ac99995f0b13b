using System.Text.Json;

namespace Nibble.Quantize.Import;

/// <summary>The chat templates of a folder: <c>chat_template.jinja</c>, <c>chat_template.json</c> or <c>tokenizer_config.json</c>, the first that is there.</summary>
internal static class ChatTemplates
{
    private const long MaxBytes = 16 << 20;

    /// <summary>Reads them.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="settings"><c>tokenizer_config.json</c>, or null.</param>
    /// <returns>Names and texts; the main template has the name "".</returns>
    public static IEnumerable<(string Name, string Template)> Read(CheckpointFolder folder, JsonFields? settings)
    {
        string path = folder.PathOf("chat_template.jinja");
        if (File.Exists(path))
        {
            long bytes = new FileInfo(path).Length;
            if (bytes > MaxBytes) throw new ImportException("chat_template.jinja", $"the file has {bytes} bytes; at most {MaxBytes} are read.");
            yield return (string.Empty, File.ReadAllText(path));
            yield break;
        }

        JsonFields? fields = JsonFields.ReadIfThere(folder.PathOf("chat_template.json")) ?? settings;
        if (fields?.Find("chat_template") is not { } value) yield break;
        if (value.ValueKind != JsonValueKind.Array)
        {
            yield return (string.Empty, fields.Text("chat_template"));
            yield break;
        }

        foreach (JsonFields template in fields.Objects("chat_template"))
        {
            string name = template.Text("name");
            if (name.Length > 100) throw template.Error("name", "at most 100 characters are possible");
            if (name != "default" && !name.All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-')) throw template.Error("name", "letters, digits, '_' and '-' are possible");
            yield return (name == "default" ? string.Empty : name, template.Text("template"));
        }
    }
}
