using System.CommandLine;
using Nibble.Llm.Models;
using Spectre.Console;

namespace Nibble.Cli.Commands;

/// <summary><c>nibble architectures</c>: the model families that run.</summary>
internal static class ArchitecturesCommand
{
    /// <summary>The command.</summary>
    public static Command Create()
    {
        Option<bool> json = new("--json") { Description = "Write JSON." };
        Option<bool> markdown = new("--markdown") { Description = "Write the table of README.md." };
        Command command = new("architectures", "List the architectures that run, and the models that people know them by.") { json, markdown };
        command.SetAction(parsed =>
        {
            if (parsed.GetValue(json) && parsed.GetValue(markdown)) throw new UsageException("--json and --markdown exclude each other.");
            if (parsed.GetValue(json)) WriteJson();
            else if (parsed.GetValue(markdown)) Console.Out.Write(Architectures.Markdown);
            else WriteTable();
            return 0;
        });
        Examples.Attach(command, "nibble architectures", "nibble architectures --json", "nibble architectures --markdown");
        return command;
    }

    private static void WriteTable()
    {
        Table table = new Table().AddColumns("architecture", "models");
        foreach (Architecture architecture in Architectures.All)
            table.AddRow(Markup.Escape(architecture.Name), Markup.Escape(architecture.Models));
        Terminal.Output.Write(table);
        Terminal.Note("'nibble inspect FILE' tells whether a file runs, and what is missing if not.");
    }

    private static void WriteJson() => JsonOutput.Write(writer =>
    {
        writer.WriteStartArray();
        foreach (Architecture architecture in Architectures.All)
        {
            writer.WriteStartObject();
            writer.WriteString("name", architecture.Name);
            writer.WriteString("models", architecture.Models);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    });
}
