using System.Text.RegularExpressions;
using Nibble.Core.Formats;
using Nibble.Llm.Models;

namespace Nibble.Repo.Tests;

/// <summary>The lists of README.md and the example of CONTRIBUTING.md are those of the code.</summary>
public partial class ReadmeListTests
{
    [Fact]
    public void Weight_formats_are_those_of_the_table() =>
        Assert.Equal(BlockFormats.All.Select(format => format.Name).Order(StringComparer.Ordinal), Items("### Weight formats").Order(StringComparer.Ordinal));

    [Fact]
    public void The_table_of_architectures_is_what_nibble_architectures_markdown_writes() =>
        Assert.Contains($"`nibble architectures --markdown` writes this table.\n\n{Architectures.Markdown}\n", Repository.Read("README.md").ReplaceLineEndings("\n"), StringComparison.Ordinal);

    [Fact]
    public void Architectures_are_in_order_and_named_once() =>
        Assert.Equal(Architectures.Names.Distinct().Order(StringComparer.Ordinal), Architectures.Names);

    [Fact]
    public void The_worked_example_of_an_architecture_is_the_file_itself_and_short()
    {
        string text = Repository.Read("CONTRIBUTING.md").ReplaceLineEndings("\n"), section = text[text.IndexOf("## To add an architecture\n", StringComparison.Ordinal)..];
        Match example = Regex.Match(section, "`(src/[^`]*\\.cs)` says just that:\n\n```csharp\n(.*?)```", RegexOptions.Singleline);
        Assert.True(example.Success);
        string file = Repository.Read(example.Groups[1].Value).ReplaceLineEndings("\n");
        Assert.Equal(file[file.IndexOf("internal static class", StringComparison.Ordinal)..], example.Groups[2].Value);
        Assert.InRange(section.Count(letter => letter == '\n'), 30, 40);
    }

    [Fact]
    public void The_version_is_the_one_of_the_build()
    {
        string version = Regex.Match(Repository.Read("Directory.Build.props"), "<Version>(.*)</Version>").Groups[1].Value;
        Assert.Contains($"Version {version}", Repository.Read("README.md"), StringComparison.Ordinal);
        Assert.Contains($"\n## {version}", Repository.Read("CHANGELOG.md"), StringComparison.Ordinal);
    }

    // The code spans of the list items under a heading.
    private static IEnumerable<string> Items(string heading)
    {
        string text = Repository.Read("README.md");
        int start = text.IndexOf(heading + "\n", StringComparison.Ordinal);
        Assert.True(start >= 0, $"README.md has no heading '{heading}'.");
        int end = text.IndexOf("\n#", start + heading.Length, StringComparison.Ordinal);
        return text[start..(end < 0 ? text.Length : end)].Split('\n').Where(line => line.StartsWith("- ", StringComparison.Ordinal))
            .SelectMany(line => CodeSpan().Matches(line)).Select(match => match.Groups[1].Value);
    }

    [GeneratedRegex("`([^`]+)`")]
    private static partial Regex CodeSpan();
}
