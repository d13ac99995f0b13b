namespace Nibble.Cli.Bench;

/// <summary>A line on standard error that says what runs, where that is a terminal. It is written between measurements only, and no thread of its own redraws it: nothing disturbs what is measured.</summary>
internal static class StatusLine
{
    private const string ClearLine = "\r\u001b[K";

    /// <summary>Shows a text in place of the one before.</summary>
    public static void Show(string text)
    {
        if (!Console.IsErrorRedirected) Console.Error.Write(ClearLine + text);
    }

    /// <summary>Takes the line away.</summary>
    public static void Clear()
    {
        if (!Console.IsErrorRedirected) Console.Error.Write(ClearLine);
    }
}
