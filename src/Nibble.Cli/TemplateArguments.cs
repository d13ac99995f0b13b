using System.CommandLine;
using Nibble.Llm.Templates;

namespace Nibble.Cli;

/// <summary>The options that replace a model's chat template.</summary>
internal sealed class TemplateArguments
{
    private readonly Option<string?> _source = new("--chat-template") { Description = "A chat template (Jinja source, or the name chatml) in place of the model's own." };
    private readonly Option<FileInfo?> _file = new("--chat-template-file") { Description = "A file with a chat template in place of the model's own." };

    /// <summary>Adds the options to a command.</summary>
    public void AddTo(Command command)
    {
        command.Add(_source);
        command.Add(_file);
    }

    /// <summary>The template's source, or null for the model's own.</summary>
    public string? Source(ParseResult parsed)
    {
        string? source = parsed.GetValue(_source);
        FileInfo? file = parsed.GetValue(_file);
        if (source is not null && file is not null) throw new UsageException("give --chat-template or --chat-template-file, not both.");
        if (source is null) return file is null ? null : File.ReadAllText(file.FullName);
        if (source == "chatml") return ChatTemplate.ChatMLSource;
        return source.Contains("{{", StringComparison.Ordinal) || source.Contains("{%", StringComparison.Ordinal)
            ? source
            : throw new UsageException($"'{source}' is no chat template (--chat-template): it has neither {{{{ nor {{%. Give Jinja source, or the name chatml.");
    }
}
