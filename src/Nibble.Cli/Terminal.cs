using Spectre.Console;

namespace Nibble.Cli;

/// <summary>The command line is well-formed, but asks for what cannot be.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>What the command writes for people: tables on standard output, progress, notes and errors on standard error.</summary>
internal static class Terminal
{
    private static readonly IAnsiConsole ErrorConsole = Create(Console.Error, Console.IsErrorRedirected);

    /// <summary>Tables on standard output; plain text where it is redirected.</summary>
    public static IAnsiConsole Output { get; } = Create(Console.Out, Console.IsOutputRedirected);

    /// <summary>Writes an error line.</summary>
    public static void Error(string message) => Console.Error.WriteLine("nibble: error: " + OneLine(message));

    /// <summary>An exception's message without the parameter's name that .NET appends, which says nothing to a user.</summary>
    public static string Message(Exception error) =>
        error is ArgumentException { ParamName: { } name } ? error.Message.Replace($" (Parameter '{name}')", string.Empty, StringComparison.Ordinal) : error.Message;

    /// <summary>Writes a warning line.</summary>
    public static void Warning(string message) => Console.Error.WriteLine("nibble: warning: " + OneLine(message));

    /// <summary>Writes a line that is neither data nor error.</summary>
    public static void Note(string message) => Console.Error.WriteLine(message);

    /// <summary>Runs a task with a progress bar on standard error where that is a terminal.</summary>
    /// <param name="title">What is done.</param>
    /// <param name="work">Does it; tells its share, 0 to 1, and a word to show.</param>
    public static T Progress<T>(string title, Func<Action<double, string>, T> work)
    {
        if (Console.IsErrorRedirected) return work((_, _) => { });
        T result = default!;
        ErrorConsole.Progress().AutoClear(true).HideCompleted(true).Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn())
            .Start(context =>
            {
                ProgressTask task = context.AddTask(Markup.Escape(title), maxValue: 1);
                result = work((share, word) =>
                {
                    task.Value = share;
                    task.Description = Markup.Escape(word.Length == 0 ? title : $"{title} {word}");
                });
            });
        return result;
    }

    private static string OneLine(string message) => message.ReplaceLineEndings(" ");

    private static IAnsiConsole Create(TextWriter writer, bool isRedirected)
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(writer),
            Ansi = isRedirected ? AnsiSupport.No : AnsiSupport.Detect,
            ColorSystem = isRedirected || !string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR")) ? ColorSystemSupport.NoColors : ColorSystemSupport.Detect,
            Interactive = isRedirected ? InteractionSupport.No : InteractionSupport.Detect,
        });
        if (isRedirected) console.Profile.Width = 240;
        return console;
    }
}
