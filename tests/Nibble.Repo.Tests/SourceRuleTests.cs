using System.Text.RegularExpressions;

namespace Nibble.Repo.Tests;

/// <summary>What every file of the repository keeps to.</summary>
public partial class SourceRuleTests
{
    private const int MaxLines = 600;
    private const long MaxGoldenBytes = 30_000_000;

    /// <summary>Files of src/ that may be longer than <see cref="MaxLines"/>, and why.</summary>
    private static readonly Dictionary<string, string> LongFiles = [];

    // Hosts that texts may point to. A package source or mirror is the business of the machine that builds, not of the repository.
    private static readonly string[] Hosts =
        ["github.com", "git-lfs.github.com", "arxiv.org", "www.apache.org", "huggingface.co", "learn.microsoft.com", "dotnet.microsoft.com", "keepachangelog.com", "semver.org", "www.unicode.org", "unicode.org", "json-schema.org", "www.w3.org"];

    // Split, so that this file keeps the rule.
    private static readonly Regex Leftovers = new("\\b(TO" + "DO|FIX" + "ME|HA" + "CK|XX" + "X)\\b");

    private static IEnumerable<string> Texts => Repository.Files.Where(file => !Repository.IsData(file) && !Repository.IsBinary(file));

    [Fact]
    public void A_file_of_src_has_at_most_600_lines_or_a_reason()
    {
        Check.None(Repository.Sources("src")
            .Select(file => (File: file, Lines: File.ReadLines(Repository.FullPath(file)).Count()))
            .Where(entry => entry.Lines > MaxLines != LongFiles.ContainsKey(entry.File))
            .Select(entry => $"{entry.File}: {entry.Lines} lines"));
        Check.None(LongFiles.Keys.Except(Repository.Sources("src")));
    }

    [Fact]
    public void A_file_of_src_that_declares_a_type_has_the_file_scoped_namespace_of_its_folder()
    {
        List<string> wrong = [];
        foreach (string file in Repository.Sources("src"))
        {
            string text = Repository.Read(file);
            if (!TypeDeclaration().IsMatch(text)) continue;
            string expected = Path.GetDirectoryName(file)!["src/".Length..].Replace('\\', '/').Replace('/', '.');
            if (!text.Contains($"\nnamespace {expected};\n", StringComparison.Ordinal) && !text.StartsWith($"namespace {expected};\n", StringComparison.Ordinal))
                wrong.Add($"{file}: no 'namespace {expected};'");
        }

        Check.None(wrong);
    }

    [Fact]
    public void Nothing_is_left_for_later_in_a_comment() => Check.None(Matches(Leftovers));

    [Fact]
    public void No_text_names_a_folder_of_one_machine() => Check.None(Matches(MachinePath()));

    [Fact]
    public void No_text_names_a_host_but_the_known_ones() =>
        Check.None(Texts.SelectMany(file => Url().Matches(Repository.Read(file)).Select(match => (file, Host: match.Groups["host"].Value)))
            .Where(entry => !Hosts.Contains(entry.Host)).Select(entry => $"{entry.file}: {entry.Host}").Distinct());

    [Fact]
    public void Every_text_has_line_feeds_only_and_ends_with_one()
    {
        Assert.DoesNotContain(Texts, file =>
        {
            byte[] bytes = File.ReadAllBytes(Repository.FullPath(file));
            return bytes.AsSpan().Contains((byte)'\r') || (bytes.Length > 0 && bytes[^1] != '\n');
        });
    }

    [Fact]
    public void Binary_files_lie_in_models_and_in_golden_only() =>
        Assert.DoesNotContain(Repository.Files, file => !Repository.IsData(file) && Repository.IsBinary(file));

    [Fact]
    public void Golden_data_stays_within_30_MB() =>
        Assert.InRange(Repository.Files.Where(file => file.StartsWith("tests/golden/", StringComparison.Ordinal)).Sum(file => new FileInfo(Repository.FullPath(file)).Length), 1, MaxGoldenBytes);

    [Fact]
    public void Every_golden_folder_says_where_its_data_comes_from()
    {
        string[] folders = [.. Repository.Files.Where(file => file.StartsWith("tests/golden/", StringComparison.Ordinal)).Select(file => string.Join('/', file.Split('/')[..3])).Distinct()];
        Assert.NotEmpty(folders);
        Assert.DoesNotContain(folders, folder => !Repository.Files.Contains(folder + "/README.md") || Repository.Read(folder + "/README.md").Trim().Length == 0);
    }

    [Fact]
    public void No_test_is_switched_off_in_its_attribute()
    {
        // A test that cannot run somewhere says so itself, with Assert.Skip and a reason, so that it runs wherever it can.
        Check.None(Repository.Sources("tests").SelectMany(file => AttributeSkip().Matches(Repository.Read(file)).Select(match => $"{file}: {match.Value}")));
    }

    [Theory]
    [InlineData("[Fact(Sk" + "ip = \"slow\")]")]
    [InlineData("[Theory(DisplayName = \"x\", Sk" + "ip=\"slow\")]")]
    [InlineData("[InlineData(1, 2, Sk" + "ip = \"slow\")]")]
    public void A_switched_off_test_is_seen(string attribute) => Assert.Matches(AttributeSkip(), attribute);

    [Theory]
    [InlineData("see /wo" + "rk/x", true)]
    [InlineData("\"/ho" + "me/me/models\"", true)]
    [InlineData("\"/ro" + "ot\"", true)]
    [InlineData("src/work/x", false)]
    [InlineData("https://github.com/home/x", false)]
    public void A_folder_of_one_machine_is_seen(string text, bool seen) => Assert.Equal(seen, MachinePath().IsMatch(text));

    [Fact]
    public void Every_test_project_has_tests()
    {
        foreach (string project in Repository.Files.Where(file => file.EndsWith(".Tests.csproj", StringComparison.Ordinal)))
            Assert.Contains(Repository.Sources(Path.GetDirectoryName(project)!.Replace('\\', '/')), file => TestAttribute().IsMatch(Repository.Read(file)));
    }

    private static IEnumerable<string> Matches(Regex pattern) =>
        Texts.SelectMany(file => Repository.Read(file).Split('\n').Index()
            .Where(line => pattern.IsMatch(line.Item))
            .Select(line => $"{file}:{line.Index + 1}: {line.Item.Trim()}"));

    [GeneratedRegex(@"^\s*(?:(?:public|internal|private|protected|file|static|sealed|abstract|partial|readonly|ref|unsafe|unmanaged)\s+)*(?:class|struct|interface|enum|record|delegate)\s+\w", RegexOptions.Multiline)]
    private static partial Regex TypeDeclaration();

    [GeneratedRegex(@"(?<![\w.\-}/*])/(?:work|root|home)(?![\w\-])")]
    private static partial Regex MachinePath();

    [GeneratedRegex(@"https?://(?<host>[\w.\-]+)")]
    private static partial Regex Url();

    [GeneratedRegex(@"\[(?:Fact|Theory)\b")]
    private static partial Regex TestAttribute();

    [GeneratedRegex(@"\[\s*(?:Fact|Theory|InlineData|MemberData|ClassData)\b[^\]\r\n]*\bSkip(?:Unless|When)?\s*=")]
    private static partial Regex AttributeSkip();
}
