using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using System.Text;
using Nibble.Cli.Commands;

namespace Nibble.Cli;

/// <summary>The <c>nibble</c> command.</summary>
internal static class Program
{
    /// <summary>Exit code: a failure, told in one line.</summary>
    public const int Failed = 1;

    /// <summary>Exit code: the command line is wrong.</summary>
    public const int Usage = 2;

    /// <summary>Exit code: interrupted by Ctrl-C.</summary>
    public const int Interrupted = 130;

    private static async Task<int> Main(string[] arguments)
    {
        Console.OutputEncoding = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false);
        Console.InputEncoding = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false);
        ParseResult parsed = CreateRoot().Parse(arguments);
        if (parsed.Action is ParseErrorAction)
        {
            foreach (var error in parsed.Errors)
                Terminal.Error(error.Message);
            await Console.Error.WriteLineAsync($"Run 'nibble {(parsed.CommandResult.Command is RootCommand ? string.Empty : parsed.CommandResult.Command.Name + " ")}--help' to see what it takes.");
            return Usage;
        }

        try
        {
            return await parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null });
        }
        catch (OperationCanceledException)
        {
            Terminal.Error("interrupted.");
            return Interrupted;
        }
        catch (UsageException error)
        {
            Terminal.Error(error.Message);
            return Usage;
        }
        catch (Exception error) when (Environment.GetEnvironmentVariable("NIBBLE_STACK_TRACE") is not "1")
        {
            Terminal.Error(error.Message);
            return Failed;
        }
    }

    private static RootCommand CreateRoot()
    {
        RootCommand root = new("Nibble runs large language models from GGUF files, in managed code.")
        {
            ChatCommand.Create(),
            RunCommand.Create(),
            TokenizeCommand.Create(),
            DetokenizeCommand.Create(),
            TemplateCommand.Create(),
            LogitsCommand.Create(),
            EvaluateCommand.Create(),
            InspectCommand.Create(),
            DevicesCommand.Create(),
        };
        Examples.Attach(
            root,
            "nibble chat",
            "nibble run --prompt \"What is the capital of France?\" --temp 0",
            "nibble inspect model.gguf --tensors");
        foreach (Option option in root.Options)
            if (option is HelpOption { Action: HelpAction help } helpOption) helpOption.Action = new HelpWithExamples(help);
        return root;
    }
}
