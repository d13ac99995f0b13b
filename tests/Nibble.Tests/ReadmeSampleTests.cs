using System.Text.RegularExpressions;

namespace Nibble.Tests;

/// <summary>README's program is the one that compiles and runs here.</summary>
public class ReadmeSampleTests
{
    [Fact]
    public void The_program_in_README_runs_and_is_this_one()
    {
        TextWriter console = Console.Out;
        using StringWriter output = new();
        Console.SetOut(output);
        try
        {
            // README begins
            using Model model = Model.Load();
            using Chat chat = new(model, new ChatOptions { System = "You answer in one sentence." });
            ChatAnswer answer = chat.Send("What is the capital of France?", text => Console.Out.Write(text));
            Console.WriteLine($" ({answer.GeneratedTokens} tokens)");
            // README ends
            Assert.Equal($"{answer.Text} ({answer.GeneratedTokens} tokens){Environment.NewLine}", output.ToString());
        }
        finally
        {
            Console.SetOut(console);
        }

        string source = File.ReadAllText(Path.Combine(Fixtures.Root, "tests", "Nibble.Tests", "ReadmeSampleTests.cs"));
        string readme = File.ReadAllText(Path.Combine(Fixtures.Root, "README.md"));
        Assert.Equal(Lines(Between(source, "// README begins", "// README ends")), Lines(Between(readme, "```csharp", "```")));
    }

    private static string Between(string text, string start, string end) => Regex.Match(text, $"{Regex.Escape(start)}\n(.*?){Regex.Escape(end)}", RegexOptions.Singleline).Groups[1].Value;

    private static string[] Lines(string text) => text.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
}
