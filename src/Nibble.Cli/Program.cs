using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using System.Text;
using System.Text.RegularExpressions;
using Microsoft.Win32.SafeHandles;
using Nibble.Cli.Commands;

namespace Nibble.Cli;

/// <summary>The <c>nibble</c> command.</summary>
internal static partial class Program
{
    /// <summary>Exit code: a failure, told in one line.</summary>
    public const int Failed = 1;

    /// <summary>Exit code: the command line is wrong.</summary>
    public const int Usage = 2;

    /// <summary>Exit code: interrupted by Ctrl-C.</summary>
    public const int Interrupted = 130;

    // EPIPE, which .NET gives as the result code of the exception on Unix.
    private const int BrokenPipe = 32;

    [GeneratedRegex("^Cannot parse argument '(.*)' for option '(.*)' as expected type '.*'\\.$")]
    private static partial Regex NotAsExpected();

    private static async Task<int> Main(string[] arguments)
    {
        Console.OutputEncoding = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false);
        Console.InputEncoding = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false);
        if (Console.IsOutputRedirected && !OperatingSystem.IsWindows())
        {
            // The console's own stream swallows the error of a closed pipe, and a command would go on writing into nothing.
            // Not for a file: FileStream would write at an offset of its own, while other programs may write to the same open file.
            FileStream output = new(new SafeFileHandle(1, ownsHandle: false), FileAccess.Write, bufferSize: 0);
            if (!output.CanSeek) Console.SetOut(new StreamWriter(output, new UTF8Encoding(encoderShouldEmitUTF8Identifier: false)) { AutoFlush = true });
        }

        ParseResult parsed = CreateRoot().Parse(arguments);
        if (parsed.Action is ParseErrorAction)
        {
            foreach (var error in parsed.Errors)
                Terminal.Error(NotAsExpected().Replace(error.Message, "'$1' is no value for $2; it must be a whole number."));
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
        catch (Exception error) when (error is UsageException or ArgumentException)
        {
            Terminal.Error(Terminal.Message(error));
            return Usage;
        }
        catch (IOException error) when (error.HResult == BrokenPipe)
        {
            Terminal.Error("the program that reads the output has closed it.");
            return Failed;
        }
        catch (Exception error)
        {
            Terminal.Error(Terminal.Message(error));
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
            ImportanceCommand.Create(),
            InspectCommand.Create(),
            ArchitecturesCommand.Create(),
            DevicesCommand.Create(),
            QuantizeCommand.Create(),
            ImportCommand.Create(),
            SynthCommand.Create(),
            BenchCommand.Create(),
            KernelsCommand.Create(),
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
