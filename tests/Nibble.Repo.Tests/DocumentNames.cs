using System.Text.RegularExpressions;

namespace Nibble.Repo.Tests;

/// <summary>A name in a document that the code does not have.</summary>
/// <param name="Line">Line in the document, from 1.</param>
/// <param name="Span">What stands there.</param>
/// <param name="Reason">What was looked for.</param>
internal sealed record NameProblem(int Line, string Span, string Reason)
{
    public override string ToString() => $"line {Line}: `{Span}`: {Reason}";
}

/// <summary>Checks the names of a Markdown document against the code. What is checked, the first rule that fits:</summary>
/// <remarks>
/// <para>1. A span that starts with a program (<c>dotnet test</c>, <c>nibble chat</c>) is a command line; <c>CommandLineTests</c> check it.</para>
/// <para>2. An option (<c>--exact</c>) stands in the sources.</para>
/// <para>3. A path or file name (it has a '/', or ends like a file) exists: from the root, or anywhere where it has no '/'; with <c>*</c> at least one file fits.
/// What lies under <c>../shared</c> may be absent.</para>
/// <para>4. A C# name (<c>Session</c>, <c>Session.Prefill</c>, <c>IBlock&lt;TSelf&gt;</c>, <c>Prefill(prompt)</c>) is declared; one of capitals only
/// (<c>NIBBLE_MODELS</c>) may also be a word of the sources.</para>
/// <para>5. A lower-case name (<c>general.architecture</c>, <c>attn_q.weight</c>, <c>llama</c>) is text of the sources.</para>
/// <para>6. In any other span, and in code blocks that are neither shell nor C#, each dotted C# name and each word with a capital and a further capital inside
/// (<c>KvCache</c>) is declared.</para>
/// <para>Links to files exist. A span is closed on its line.</para>
/// </remarks>
internal static partial class DocumentNames
{
    private static readonly string[] Programs = ["dotnet", "nibble", "git", "cd", "pwsh", ".ci/run", "./build.ps1"];

    // Options that System.CommandLine adds.
    private static readonly string[] ParserOptions = ["--help", "--version"];

    /// <summary>Checks a document.</summary>
    public static List<NameProblem> Check(string markdown, NameIndex index)
    {
        List<NameProblem> problems = [];
        string? fence = null;
        foreach ((int number, string line) in markdown.Split('\n').Index())
        {
            if (line.TrimStart().StartsWith("```", StringComparison.Ordinal))
            {
                fence = fence is null ? line.Trim()[3..] : null;
                continue;
            }

            if (fence is null) CheckProse(line, number + 1, index, problems);
            else if (fence is "" or "text") CheckWords(line, number + 1, index, problems);
        }

        if (fence is not null) problems.Add(new NameProblem(markdown.Split('\n').Length, "```", "this code block is not closed"));
        return problems;
    }

    /// <summary>The code spans that are command lines of the program.</summary>
    public static IEnumerable<string> CommandSpans(string markdown)
    {
        bool isBlock = false;
        foreach (string line in markdown.Split('\n'))
        {
            if (line.TrimStart().StartsWith("```", StringComparison.Ordinal)) isBlock = !isBlock;
            else if (!isBlock)
                foreach (Match match in CodeSpan().Matches(line))
                    if (match.Groups[1].Value.StartsWith("nibble ", StringComparison.Ordinal)) yield return match.Groups[1].Value;
        }
    }

    private static void CheckProse(string line, int number, NameIndex index, List<NameProblem> problems)
    {
        if (line.Count(c => c == '`') % 2 != 0) problems.Add(new NameProblem(number, line.Trim(), "a code span is not closed on its line"));
        foreach (Match match in CodeSpan().Matches(line))
            CheckSpan(match.Groups[1].Value.Trim(), number, index, problems);
        foreach (Match match in Link().Matches(line))
        {
            string target = match.Groups[1].Value.Split('#')[0];
            if (target.Length > 0 && !target.Contains("://", StringComparison.Ordinal) && !HasPath(target, index))
                problems.Add(new NameProblem(number, match.Value, "the link's target does not exist"));
        }
    }

    private static void CheckSpan(string span, int number, NameIndex index, List<NameProblem> problems)
    {
        string? reason = null;
        string first = span.Split(' ')[0];
        if (Programs.Contains(first) && (first != span || first is "dotnet" or "nibble" or "git"))
            return;
        if (Option().IsMatch(span))
            reason = index.HasText(first) || ParserOptions.Contains(first) ? null : $"no source of src/ has the option {first}";
        else if (ChatCommand().IsMatch(span))
            reason = index.HasText(span) ? null : "no source of src/ has this command of the chat";
        else if (PathLike().IsMatch(span))
            reason = HasPath(span, index) ? null : "no such file or folder";
        else if (CSharpName().Match(span) is { Success: true } name)
            reason = HasCSharpName(Plain(name.Groups["name"].Value), index) ? null : "no such type or member in src/";
        else if (LowerName().IsMatch(span))
            reason = index.HasText(span) ? null : "no source of src/ has this name";
        else
            CheckWords(span, number, index, problems);
        if (reason is not null) problems.Add(new NameProblem(number, span, reason));
    }

    private static void CheckWords(string text, int number, NameIndex index, List<NameProblem> problems)
    {
        foreach (Match match in SourcePath().Matches(text))
            if (!HasPath(match.Value.TrimEnd('.'), index)) problems.Add(new NameProblem(number, match.Value, "no such file or folder"));
        foreach (Match match in NameInText().Matches(SourcePath().Replace(text, " ")))
            if (!HasCSharpName(match.Value, index)) problems.Add(new NameProblem(number, match.Value, "no such type or member in src/"));
    }

    private static bool HasCSharpName(string name, NameIndex index) =>
        index.HasName(name) || (!name.Any(char.IsAsciiLetterLower) && index.HasWord(name));

    private static bool HasPath(string path, NameIndex index)
    {
        if (path == "../shared" || path.StartsWith("../shared/", StringComparison.Ordinal)) return true;
        path = path.TrimEnd('/');
        if (path.StartsWith("./", StringComparison.Ordinal)) path = path[2..];
        if (path.Contains('*'))
        {
            Regex pattern = new((path.Contains('/') ? "^" : "(^|/)") + Regex.Escape(path).Replace(@"\*", "[^/]*", StringComparison.Ordinal) + "$");
            return index.Files.Any(pattern.IsMatch) || index.Folders.Any(folder => pattern.IsMatch(folder));
        }

        if (index.Files.Contains(path) || index.Folders.Contains(path)) return true;
        return !path.Contains('/') && index.Files.Any(file => path.StartsWith('.') ? file.EndsWith(path, StringComparison.Ordinal) : file.EndsWith("/" + path, StringComparison.Ordinal));
    }

    // Without type parameters.
    private static string Plain(string name) => TypeParameters().Replace(name, string.Empty);

    [GeneratedRegex(@"(?<!`)`([^`]+)`(?!`)")]
    private static partial Regex CodeSpan();

    [GeneratedRegex(@"\]\(([^)\s]+)\)")]
    private static partial Regex Link();

    [GeneratedRegex(@"^--?[a-z][\w\-]*( \S+)?$")]
    private static partial Regex Option();

    [GeneratedRegex("^/[a-z]+$")]
    private static partial Regex ChatCommand();

    [GeneratedRegex(@"^[\w.*\-]+/[\w.*/\-]*$|^[\w.*\-]*\.(cs|csproj|md|sln|props|json|ps1|txt|gguf|bin|f32|jinja)$|^\.(editorconfig|gitattributes|gitignore)$")]
    private static partial Regex PathLike();

    [GeneratedRegex(@"^(?<name>[A-Z]\w*(<[\w, ]+>)?(\.[A-Z]\w*(<[\w, ]+>)?)*)(\([^()]*\)|\[\])?$")]
    private static partial Regex CSharpName();

    [GeneratedRegex(@"^[a-z_][a-z0-9_]*([A-Z][A-Za-z0-9]*)*([.\-][a-z0-9_]+)*$")]
    private static partial Regex LowerName();

    [GeneratedRegex(@"<[\w, ]+>")]
    private static partial Regex TypeParameters();

    [GeneratedRegex(@"(?<![\w./\-])(src|tests|models|docs|bench|native)/[\w./\-]+")]
    private static partial Regex SourcePath();

    [GeneratedRegex(@"(?<![\w.""<|\-])[A-Z][A-Za-z0-9_]*[a-z][A-Za-z0-9_]*(\.[A-Z]\w*)+|(?<![\w.""<|\-])[A-Z][a-z0-9]+[A-Z]\w*(?![\w\-])")]
    private static partial Regex NameInText();
}
