using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using System.Runtime.CompilerServices;

namespace Nibble.Cli;

/// <summary>Example lines of commands, shown under their help.</summary>
internal static class Examples
{
    private static readonly ConditionalWeakTable<Command, string[]> Lines = [];

    /// <summary>Gives a command its examples.</summary>
    public static void Attach(Command command, params string[] lines) => Lines.Add(command, lines);

    /// <summary>A command's examples.</summary>
    public static string[] Of(Command command) => Lines.TryGetValue(command, out string[]? lines) ? lines : [];
}

/// <summary>The help that System.CommandLine writes, and the command's examples after it.</summary>
internal sealed class HelpWithExamples(HelpAction help) : SynchronousCommandLineAction
{
    /// <inheritdoc/>
    public override int Invoke(ParseResult parseResult)
    {
        int code = help.Invoke(parseResult);
        string[] examples = Examples.Of(parseResult.CommandResult.Command);
        if (examples.Length > 0)
        {
            TextWriter output = parseResult.InvocationConfiguration.Output;
            output.WriteLine("Examples:");
            foreach (string line in examples)
                output.WriteLine("  " + line);
            output.WriteLine();
        }

        return code;
    }
}
