using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Nibble.Core.Gguf;
using Nibble.Llm.Templates;
using Nibble.Llm.Tokenizers;

namespace Nibble.Cli.Commands;

/// <summary><c>nibble template</c>: renders a chat template.</summary>
internal static class TemplateCommand
{
    /// <summary>The command.</summary>
    public static Command Create()
    {
        Argument<string?> model = ModelArguments.ModelArgument("A GGUF file, a name from models/manifest.json, or a .jinja file; without it the default model.");
        Option<FileInfo> context = new("--context") { Description = "The variables, a JSON object: messages, tools, add_generation_prompt, ...", Required = true };
        Option<string?> bos = new("--bos") { Description = "The text of bos_token; without it the vocabulary's." };
        Option<string?> eos = new("--eos") { Description = "The text of eos_token; without it the vocabulary's." };
        Option<string?> now = new("--now") { Description = "The time that the template sees, ISO 8601; without it the clock's." };
        Command command = new("template", "Render a chat template, byte for byte.") { model, context, bos, eos, now };
        command.SetAction(parsed =>
        {
            DateTimeOffset time = TimeProvider.System.GetLocalNow();
            if (parsed.GetValue(now) is { } text && !DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out time))
                throw new UsageException($"'{text}' is no time (--now); write it as 2026-01-31T12:00:00.");
            (string source, string? fileBos, string? fileEos) = Source(parsed.GetValue(model));
            Dictionary<string, string> literals = [];
            if ((parsed.GetValue(bos) ?? fileBos) is { } bosText) literals["bos_token"] = bosText;
            if ((parsed.GetValue(eos) ?? fileEos) is { } eosText) literals["eos_token"] = eosText;
            using JsonDocument variables = ReadContext(parsed.GetValue(context)!.FullName);
            RenderedPrompt prompt = JinjaTemplate.Parse(source).Render(variables.RootElement, time, literals);
            using Stream output = Console.OpenStandardOutput();
            output.Write(Encoding.UTF8.GetBytes(prompt.Text));
            return 0;
        });
        Examples.Attach(command, "nibble template --context conversation.json", "nibble template template.jinja --context conversation.json --bos \"<s>\" --eos \"</s>\"");
        return command;
    }

    private static (string Source, string? Bos, string? Eos) Source(string? model)
    {
        if (model is not null && model.EndsWith(".jinja", StringComparison.OrdinalIgnoreCase))
            return (File.ReadAllText(model), null, null);
        using GgufFile file = GgufFile.Open(ModelCatalog.Open().Resolve(model));
        string source = file.Metadata.FindString("tokenizer.chat_template")
            ?? throw new UsageException($"{Path.GetFileName(file.Path)} has no chat template; name a .jinja file.");
        Tokenizer tokenizer = Tokenizer.FromMetadata(file.Metadata);
        SpecialTokenIds special = tokenizer.Vocabulary.Special;
        return (source, special.Bos is { } bos ? tokenizer.Decode([bos], renderSpecial: true) : null, special.Eos is { } eos ? tokenizer.Decode([eos], renderSpecial: true) : null);
    }

    private static JsonDocument ReadContext(string path)
    {
        try
        {
            JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(path));
            return document.RootElement.ValueKind == JsonValueKind.Object
                ? document
                : throw new UsageException($"'{path}' holds no JSON object; the context is one, as {{\"messages\": [...]}}.");
        }
        catch (JsonException error)
        {
            throw new UsageException($"'{path}' is no JSON: {error.Message}");
        }
    }
}
