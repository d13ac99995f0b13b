using System.CommandLine;
using System.Reflection;
using System.Text;

namespace Nibble.Repo.Tests;

/// <summary>Checks command lines as they stand in the shell blocks of a document.</summary>
internal static class CommandLines
{
    // Verbs of dotnet that documents use.
    private static readonly string[] DotnetVerbs = ["build", "test", "run", "pack", "tool", "format"];

    /// <summary>The root command of the program, as it parses its own command line.</summary>
    public static RootCommand Root { get; } = (RootCommand)Assembly.Load("Nibble.Cli").GetType("Nibble.Cli.Program", throwOnError: true)!
        .GetMethod("CreateRoot", BindingFlags.Static | BindingFlags.NonPublic | BindingFlags.Public)!.Invoke(null, null)!;

    /// <summary>The lines of the shell blocks of a Markdown text.</summary>
    public static IEnumerable<string> OfBlocks(string markdown)
    {
        bool isShell = false;
        foreach (string line in markdown.Split('\n'))
        {
            if (line.StartsWith("```", StringComparison.Ordinal)) isShell = line is "```sh" or "```powershell";
            else if (isShell && line.Trim().Length > 0 && !line.StartsWith('#')) yield return line;
        }
    }

    /// <summary>What is wrong with a line: an unknown program, command, option, or file to build. Empty when nothing is.</summary>
    public static IEnumerable<string> Problems(string line)
    {
        List<string> words = Split(line);
        if (words[0] == "nibble") return NibbleProblems(words[1..]);
        if (words[0] != "dotnet") return [$"{line}: the program {words[0]} is not known to this check"];
        int end = words.IndexOf("--");
        List<string> own = end < 0 ? words : words[..end];
        List<string> problems = [];
        if (own.Count < 2 || !DotnetVerbs.Contains(own[1])) problems.Add($"{line}: not one of dotnet {string.Join(", ", DotnetVerbs)}");
        foreach (string word in own.Skip(2).Where(word => word.StartsWith("src/", StringComparison.Ordinal) || word.StartsWith("tests/", StringComparison.Ordinal) || word.EndsWith(".sln", StringComparison.Ordinal)))
            if (!Path.Exists(Path.Combine(Fixtures.Root, word))) problems.Add($"{line}: {word} does not exist");
        if (own.Contains("run"))
        {
            int project = own.IndexOf("--project");
            if (project < 0 || own[project + 1] != "src/Nibble.Cli") problems.Add($"{line}: dotnet run without --project src/Nibble.Cli");
            problems.AddRange(NibbleProblems(end < 0 ? [] : words[(end + 1)..]));
        }

        return problems;
    }

    /// <summary>The words of a line as a POSIX shell gives them to a program, for the quotes that documents use.</summary>
    public static List<string> Split(string line)
    {
        List<string> words = [];
        StringBuilder word = new();
        bool inWord = false;
        char quote = '\0';
        foreach (char c in line)
        {
            if (quote != '\0')
            {
                if (c == quote) quote = '\0';
                else word.Append(c);
            }
            else if (c is '"' or '\'')
            {
                quote = c;
                inWord = true;
            }
            else if (c == ' ')
            {
                if (inWord) words.Add(word.ToString());
                word.Clear();
                inWord = false;
            }
            else
            {
                Assert.False(c is '|' or '<' or '>' or '\\' or '$' or '`' or '&' or ';', $"'{line}' has '{c}'; write documents' command lines without what only a shell understands.");
                word.Append(c);
                inWord = true;
            }
        }

        Assert.True(quote == '\0', $"'{line}' has a quote that is not closed.");
        if (inWord) words.Add(word.ToString());
        return words;
    }

    private static IEnumerable<string> NibbleProblems(List<string> words)
    {
        // A line with no command is the program itself, which documents may name.
        if (words.Count == 0) return [];
        return Root.Parse(words).Errors.Select(error => $"nibble {string.Join(' ', words)}: {error.Message}");
    }
}
