using System.Globalization;
using System.Text.Json;
using Nibble.Llm.Templates;

namespace Nibble.Llm.Tests.Templates;

/// <summary>Each statement, operator, filter, test, method and global in small sources, against jinja2 (tests/golden/templates/snippets.json).</summary>
public sealed class SnippetTests
{
    private static readonly JsonDocument Document = JsonDocument.Parse(File.ReadAllText(Fixtures.Golden("templates", "snippets.json")));

    public static TheoryData<string> Groups { get; } = new(Snippets().Select(snippet => snippet.GetProperty("group").GetString()!).Distinct());

    [Theory]
    [MemberData(nameof(Groups))]
    public void Snippets_render_or_fail_as_in_jinja2(string group)
    {
        JsonElement context = Document.RootElement.GetProperty("context");
        DateTimeOffset now = DateTimeOffset.Parse(Document.RootElement.GetProperty("now").GetString()!, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal);
        List<string> failures = [];
        foreach (JsonElement snippet in Snippets().Where(snippet => snippet.GetProperty("group").GetString() == group))
        {
            string source = snippet.GetProperty("source").GetString()!;
            string expected = snippet.TryGetProperty("output", out JsonElement output) ? output.GetString()! : "an error like " + snippet.GetProperty("error").GetString();
            string actual;
            try
            {
                actual = JinjaTemplate.Parse(source).Render(context, now).Text;
            }
            catch (TemplateException e)
            {
                Assert.True(e.Line >= 1 && e.Column >= 1);
                actual = "an error like " + e.Message;
                if (snippet.TryGetProperty("error", out _)) continue;
            }
            if (actual != expected) failures.Add($"{source}\n    expected {expected}\n    but got  {actual}");
        }
        Assert.True(failures.Count == 0, $"{failures.Count} snippets of '{group}' differ:\n{string.Join('\n', failures)}");
    }

    [Fact]
    public void The_oracle_covers_at_least_900_snippets() => Assert.True(Snippets().Count() >= 900);

    private static JsonElement.ArrayEnumerator Snippets() => Document.RootElement.GetProperty("snippets").EnumerateArray();
}
